"""Export a bundle's shards and whole as TorchServe archives, with a server configuration and instructions.

    model-store/NAME-0.mar …   one archive per shard, and NAME.mar with the whole
    config.properties          addresses on loopback, sizes of bodies, workers and batches of each model
    README.md                  the commands

An archive is self-contained: the part as TorchScript, its description and golden input, the handler, and the modules of
this project that the handler needs (formats/vendored.py). torch-model-archiver, TorchServe's own tool, puts it
together.
"""

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shardline.formats.parts import ExportPart, read_parts, writing_folder
from shardline.formats.torchscript import save_torchscript
from shardline.formats.vendored import third_party, write_vendored
from shardline.partition.program import Progress, silent
from shardline.storage.bundle import BUNDLE_FILE, STAGE_FILE, Bundle
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import FormatError, MissingPackageError

STORE = "model-store"
CONFIG_FILE = "config.properties"
README_FILE = "README.md"
_HANDLER = Path(__file__).with_name("torchserve_handler.py")
_HANDLER_NEEDS = (
    "shardline.partition.runtime",
    "shardline.partition.runtime",
    "shardline.predictors.inputs",
    "shardline.predictors.picture",
    "shardline.storage.bundle",
    "shardline.tasks.registry",
    "shardline.tasks.request",
    "shardline.wire.errors",
    "shardline.wire.frame",
    "shardline.wire.v1",
)
_TASKS = ("classify", "detect", "plates", "raw", "segment")  # an archive cannot hold the index of a retrieval
_DISTRIBUTIONS = {"PIL": "pillow", "ml_dtypes": "ml-dtypes"}  # by module, where the names differ


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Settings of TorchServe for each model: `minWorkers`, `batchSize`, `maxBatchDelay` and `responseTimeout`."""

    workers: int = 1
    batch: int = 1
    delay_ms: int = 10
    timeout_s: int = 120
    port: int = 8080  # of predictions; management and metrics get the next two


def export_torchserve(folder: Path, out: Path, options: ServeOptions, *, progress: Progress = silent) -> list[str]:
    """Write model store, config.properties and README.md into `out`, and return the models' names, the shards' first.

    Raises:
        BundleError: the bundle cannot be read.
        FormatError: TorchScript does not take a part, the task has an index, or torch-model-archiver fails.
        MissingPackageError: torch-model-archiver is not installed.
        FileError: `out` exists already.
    """
    bundle = open_bundle(folder)
    if bundle.task.name not in _TASKS:
        raise FormatError(
            f"the bundle's task is {bundle.task.name}, whose index no archive holds; allowed: {', '.join(_TASKS)}"
        )
    names = []
    with writing_folder(out) as draft:
        (draft / STORE).mkdir()
        for part in read_parts(folder):
            progress(f"archiving {part.name}")
            with TemporaryDirectory(dir=draft) as scratch:
                _archive(part, Path(scratch), draft / STORE)
            names.append(part.name)
        (draft / CONFIG_FILE).write_text(config(names, options, bundle.limits.body_bytes))
        stages = names[: len(bundle.stages)]
        (draft / README_FILE).write_text(_readme(stages, bundle, options))
    return names


def config(names: Sequence[str], options: ServeOptions, body_bytes: int) -> str:
    """Content of config.properties; its paths are relative to the folder that TorchServe is started in."""
    models = {
        name: {
            "1.0": {
                "defaultVersion": True,
                "marName": f"{name}.mar",
                "minWorkers": options.workers,
                "maxWorkers": options.workers,
                "batchSize": options.batch,
                "maxBatchDelay": options.delay_ms,
                "responseTimeout": options.timeout_s,
            }
        }
        for name in names
    }
    addresses = [
        f"{api}_address=http://127.0.0.1:{options.port + offset}"
        for offset, api in enumerate(("inference", "management", "metrics"))
    ]
    lines = [
        *addresses,
        f"model_store={STORE}",
        "load_models=" + ",".join(f"{name}.mar" for name in names),
        f"max_request_size={body_bytes}",
        f"max_response_size={body_bytes}",
        f"default_workers_per_model={options.workers}",
        f"models={json.dumps(models, separators=(',', ':'))}",
    ]
    return "\n".join(lines) + "\n"


def requirements() -> list[str]:
    """Packages that the handler's process needs as well as torch, with Shardline's own version bounds."""
    wanted = {_DISTRIBUTIONS.get(name, name) for name in third_party(_HANDLER_NEEDS)} - {"torch"}
    bounds = [line for line in requires("shardline") or () if ";" not in line]
    return sorted(line for line in bounds if re.split(r"[^\w.-]", line)[0] in wanted)


def _archive(part: ExportPart, scratch: Path, store: Path) -> None:
    model, vendored = scratch / "model.pt", scratch / "shardline_parts.zip"
    save_torchscript(part, model)
    write_vendored(vendored, _HANDLER_NEEDS)
    (scratch / BUNDLE_FILE).write_bytes(part.bundle.to_json())
    (scratch / STAGE_FILE).write_text(json.dumps({"stage": part.stage.index}) + "\n")
    part.golden.save(scratch)
    (scratch / "requirements.txt").write_text("\n".join(requirements()) + "\n")
    extra = sorted(path for path in scratch.iterdir() if path not in (model, scratch / "requirements.txt"))
    with _archiver() as (archiver, settings):
        archiver.generate_model_archive(
            settings(
                model_name=part.name,
                version="1.0",
                serialized_file=str(model),
                handler=str(_HANDLER),
                extra_files=",".join(map(str, extra)),
                requirements_file=str(scratch / "requirements.txt"),
                export_path=str(store),
            )
        )


@contextmanager
def _archiver() -> Iterator[tuple[Any, Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import leaves a file open
            from model_archiver import ModelArchiver, ModelArchiverConfig
            from model_archiver.model_archiver_error import ModelArchiverError
    except ImportError as exc:
        raise MissingPackageError("torch-model-archiver is not installed: pip install 'shardline[export]'") from exc
    try:
        yield ModelArchiver, ModelArchiverConfig
    except (ModelArchiverError, OSError) as exc:
        raise FormatError(f"torch-model-archiver fails: {exc}") from exc


def _readme(stages: Sequence[str], bundle: Bundle, options: ServeOptions) -> str:
    whole = bundle.name
    release = ".".join(bundle.torch_version.split(".")[:2])
    url = f"http://127.0.0.1:{options.port}/predictions"
    needs = " ".join(f"'{line}'" for line in requirements())
    text = f"""\
# {whole} for TorchServe

Written by `shardline export torchserve`. `{STORE}/{whole}.mar` is the whole model{_and_shards(stages)}

TorchServe needs Java 17; in its Python environment, torch {release} as the models were made with, and:

```sh
pip install torchserve==0.12.0 'setuptools<81' pyyaml 'torch=={release}.*' {needs}
```

Start it in this folder, and stop it again with `torchserve --stop`:

```sh
torchserve --start --ncs --disable-token-auth --ts-config {CONFIG_FILE}
```

Everything listens on loopback. Leave `--disable-token-auth` out where others can reach it: requests then need the token
in `key_file.json`.

Post a picture (JPEG, PNG, WebP, GIF, BMP or TIFF), or v1 JSON:

```sh
curl -T picture.jpg {url}/{whole}
```
"""
    if bundle.inputs:
        text += _further_inputs(bundle)
    return text if len(stages) == 1 else text + _through_shards(stages, url)


def _further_inputs(bundle: Bundle) -> str:
    values = "".join(f', "{spec.name}": …' for spec in bundle.inputs)
    return f"""
The model takes {", ".join(f"`{spec}`" for spec in bundle.inputs)} as well, so a picture alone is refused: in place of
`picture.jpg`, post a file with `{{"instances": [{{"image_bytes": {{"b64": "…"}}{values}}}]}}`.
"""


def _and_shards(stages: Sequence[str]) -> str:
    return "." if len(stages) == 1 else f",\n`{stages[0]}` to `{stages[-1]}` are its {len(stages)} shards."


def _through_shards(stages: Sequence[str], url: str) -> str:
    first, *between, last = stages
    pipes = [f"curl --silent -T picture.jpg {url}/{first}"]
    pipes += [f"curl --silent -T - {url}/{name}" for name in (*between, last)]
    command = " \\\n  | ".join(pipes)
    return f"""
Or through the shards in turn; each answers with what the next one takes, safetensors bytes:

```sh
{command}
```
"""
