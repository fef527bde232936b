# make demo      draw a license plate onto a photograph, serve the detector in three shards here, read it, prove it
# make test      all that CI checks: lint, types, tests
# make test-all  these and the heavy tests: every torchvision model that is proved exact, longer trainings
# make e2e       the tests on a cluster with KServe: whatever KUBECONFIG points to
# make images    the container images of shard, transformer and client (TOOL=buildah|podman|docker, WHEELS=folder)
# make wheels    the packages of the images, into the folder WHEELS (wheels): images are then built without internet
# make pins      the versions in the images: those that are installed here
# make bench     Shardline beside TorchServe, Ray Serve and plain KServe, on this machine; QUICK=1 takes ten minutes
# make bench-growth  how a chain grows with stages, batch, size, clients and replicas, beside what it should; QUICK=1
# make peers     TorchServe, into the virtual environment .venv-peers: a test and `make bench` start it (needs Java 17)
# make install   the virtual environment .venv with the command `shardline`
# make check     lint, types and the fast tests only
# make manifests write manifests/plates and the others there again, each from the bundle.json in it
# make format    let ruff put the code in order
# make clean     remove what was built, the virtual environment included

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# threads that spin while they wait take the CPU from the other processes of a chain
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test test-all check e2e bench bench-growth peers images wheels pins manifests install lint format clean

demo: install
	$(BIN)/python examples/demo.py

test: install lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not heavy"

test-all: install lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: install lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not heavy"

# in a namespace of their own; the images must be there, and STORAGE_EMULATOR_HOST or SHARDLINE_E2E_BUCKET say where to push
e2e: install
	SHARDLINE_E2E=1 $(BIN)/python -m pytest tests/cluster -v --exitfirst

bench: install
	$(BIN)/python -m benchmarks.serving $(if $(QUICK),--quick)

bench-growth: install
	$(BIN)/python -m benchmarks.growth $(if $(QUICK),--quick)

peers: install
	$(BIN)/python -c "from benchmarks.systems.base import ensure_peer; ensure_peer('torchserve', print)"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# where `shardline push BUNDLE gs://example-bucket/models` would put it: the bundle's digest is its bundle.json's
manifests: install $(patsubst %/bundle.json,%/base,$(wildcard manifests/*/bundle.json))

manifests/%/base: FORCE
	$(BIN)/shardline render manifests/$*/bundle.json --kustomize --out manifests/$* \
		--storage gs://example-bucket/models/$*/$$(sha256sum manifests/$*/bundle.json | cut -c 1-64)

FORCE:

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

images:
	@sh docker/build.sh $(IMAGES)

wheels: install
	$(BIN)/pip download --quiet --only-binary :all: --python-version 3.11 --dest $(or $(WHEELS),wheels) \
	    --constraint docker/constraints.txt $(patsubst %,--requirement docker/%.txt,shard transformer client)

pins: install
	$(BIN)/python docker/pins.py

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml $(wildcard requirements/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-peers bundles manifests-out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
