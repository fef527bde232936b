# make install   create the virtual environment .venv with the command `shardline` (about 7 GB, some minutes)
# make demo      draw a license plate onto a photograph, serve the detector in three shards, read it, prove split == whole
# make check     lint, types and the fast tests
# make test      everything that CI runs: lint, types and all tests that are not marked heavy
# make test-all  make test and the heavy tests: every torchvision model, longer trainings
# make format    sort imports and format the code with ruff
# make e2e       run the tests on the KServe cluster of KUBECONFIG
# make manifests render manifests/plates and manifests/resnet50 again, each from its bundle.json
# make images    build the container images of shard, transformer and client (TOOL=buildah|podman|docker, WHEELS=folder,
#                TORCH_INDEX=URL of torch's CPU builds, for a small image shard-cpu)
# make wheels    download the packages of the images into the folder WHEELS (wheels), to build images without internet;
#                with TORCH_INDEX=URL those of torch's CPU build, too
# make pins      pin the packages of the images to the versions that are installed here
# make bench     compare Shardline with TorchServe, Ray Serve and plain KServe on this machine; QUICK=1 takes ten minutes
# make bench-growth  measure a chain against stages, batch, size, clients and replicas, and against predictions; QUICK=1
# make chaos    hit each process of a chain with faults for about 15 minutes and check every reply; ONLY="stage 1, load"
# make attack   attack each server by one client with 100 connections, and measure memory and waits
# make soak     keep a chain at 70 % load for 30 minutes, and measure whether memory or p99 grow
# make fuzz     fuzz each parser for SECONDS (1800), guided by coverage; PARSERS="frame v1"
# make peers     install TorchServe into the virtual environment .venv-peers, for a test and `make bench` (needs Java 17)
# make clean     remove everything that was built or installed, .venv included

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# waiting threads must not spin: they would take the CPU from the other processes of a chain
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test test-all check e2e bench bench-growth chaos attack soak fuzz peers images wheels pins manifests install lint format clean

demo: install
	$(BIN)/shardline demo

test: install lint
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not heavy"

test-all: install lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: install lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not heavy"

# uses a namespace of its own; needs the images, and a bucket: STORAGE_EMULATOR_HOST or SHARDLINE_E2E_BUCKET
e2e: install
	SHARDLINE_E2E=1 $(BIN)/python -m pytest tests/cluster -v --exitfirst

bench: install
	$(BIN)/python -m benchmarks.serving $(if $(QUICK),--quick)

bench-growth: install
	$(BIN)/python -m benchmarks.growth $(if $(QUICK),--quick)

chaos: install
	$(BIN)/python -m benchmarks.chaos $(if $(ONLY),--only "$(ONLY)")

attack: install
	$(BIN)/python -m benchmarks.attack

soak: install
	$(BIN)/python -m benchmarks.soak

PARSERS ?= frame v1 http router bundle archive mar index picture

fuzz: install
	$(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	set -e; for parser in $(PARSERS); do $(BIN)/python tests/fuzz/run.py $$parser --seconds $(or $(SECONDS),1800); done

peers: install
	$(BIN)/python -c "from benchmarks.systems.base import ensure_peer; ensure_peer('torchserve', print)"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the URI that `shardline push` would print: the bundle's digest is the sha256 of its bundle.json
manifests: install $(patsubst %/bundle.json,%/base,$(wildcard manifests/*/bundle.json))

manifests/%/base: FORCE
	$(BIN)/shardline render manifests/$*/bundle.json --kustomize --out manifests/$* \
		--storage gs://example-bucket/models/$*/$$($(BIN)/python -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' \
		manifests/$*/bundle.json)

FORCE:

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

images:
	@TORCH_INDEX='$(TORCH_INDEX)' sh docker/build.sh $(IMAGES)

wheels: install
	$(BIN)/pip download --quiet --only-binary :all: --python-version 3.11 --dest $(or $(WHEELS),wheels) \
	    --constraint docker/constraints.txt $(patsubst %,--requirement docker/%.txt,shard transformer client)
	$(if $(TORCH_INDEX),$(BIN)/pip download --quiet --only-binary :all: --python-version 3.11 --no-deps \
	    --dest $(or $(WHEELS),wheels) --extra-index-url $(TORCH_INDEX) \
	    $$(sed -nE 's/^((torch|torchvision)==[^+]+)$$/\1+cpu/p' docker/constraints.txt))

pins: install
	$(BIN)/python docker/pins.py

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml $(wildcard requirements/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3")'
	@echo 'installing into $(VENV): about 7 GB of disk, some minutes, most of them for the download of torch'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS='ignore:Editable installation' $(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
	@echo "installed: $$(du -sh $(VENV) | cut -f1) in $(VENV)"

clean:
	rm -rf $(VENV) .venv-peers bundles manifests-out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
