"""Who may import whom, and where each dependency lives. New code that breaks these lines breaks here first."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# from the top down: a folder imports only from lines below its own; names on one line never import each other
ORDER = [
    ["examples"],
    ["shardline", "benchmarks"],
    ["releases", "training"],
    ["manifests", "formats"],
    ["predictors", "client"],
    ["partition"],
    ["tasks", "storage"],
    ["wire"],
]
LEVELS = {folder: level for level, folders in enumerate(ORDER) for folder in folders}
EVERYWHERE = {"numpy"}
# the only homes of every other dependency: folders or single files
HOMES = {
    # a mask is encoded where the last shard answers
    "PIL": [
        "wire/picture.py",
        "client",
        "predictors",
        "tasks/segment.py",
        "training",
        "shardline",
        "benchmarks",
        "examples",
    ],
    "av": ["client/video.py"],
    "aiohttp": ["manifests", "predictors/transformer.py", "benchmarks"],
    "efficientnet_lite_pytorch": ["training/efficientnet_lite.py"],
    "faiss": ["tasks/faiss_index.py"],
    "fastapi": ["predictors"],
    "gcp_storage_emulator": ["storage/emulator.py"],
    "google": ["storage/gcs.py"],
    "httptools": ["predictors/endpoint.py"],
    "jinja2": ["training/evaluation"],
    "kubernetes": [
        "client/cluster.py",
        "client/port_forward.py",
        "manifests/quantities.py",
        "manifests/rules/models.py",
    ],
    "jsonschema": ["manifests/rules/crds.py"],
    "kserve": ["predictors", "manifests/rules/models.py", "benchmarks"],
    "kserve_storage": ["storage/initializer.py"],
    "matplotlib": ["benchmarks", "shardline", "training/evaluation"],
    "ml_dtypes": ["wire/frame.py"],
    "model_archiver": ["formats/torchserve_export.py"],
    "onnxruntime": ["formats/onnx_file.py"],
    "onnxscript": ["formats/onnx_file.py"],
    "prometheus_client": ["predictors/shard.py"],
    "psutil": ["benchmarks"],
    "pycocotools": ["training/evaluation"],
    "ray": ["benchmarks"],
    "requests": ["client", "examples"],
    "rich": ["shardline", "benchmarks"],
    "safetensors": ["partition", "training", "wire/frame.py"],
    "scipy": ["training/evaluation"],
    "skimage": ["shardline"],
    "sklearn": ["training"],
    "starlette": ["predictors", "benchmarks"],
    "sympy": ["partition"],
    "timm": ["partition/timm_models.py"],
    "torch": ["partition", "training", "formats", "predictors/shard.py", "shardline/api.py", "benchmarks"],
    "torchvision": ["partition", "training", "benchmarks"],
    "ts": ["benchmarks"],
    "typer": ["shardline"],
    "uvicorn": ["predictors"],
    "uvloop": ["predictors/server.py", "manifests/router.py"],
    "urllib3": ["client"],
    "websocket": ["client/port_forward.py"],
    # grammars of plates are YAML files, which the last shard reads as well as the generator and the training
    "yaml": ["manifests", "tasks/plates/grammar.py"],
    "yarl": ["manifests"],
}
# all but these are installed as packages of shardline, through the links there
APART = {"shardline", "benchmarks", "examples"}
FILES = sorted(path.relative_to(ROOT) for folder in LEVELS for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """The full names of all modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def top(module: str) -> str:
    return module.split(".")[0]


def folder_of(module: str) -> str:
    """The folder of one of our modules: `wire` for shardline.wire.frame, `shardline` for shardline.console."""
    package, _, inside = module.partition(".")
    return top(inside) if package == "shardline" and top(inside) in LEVELS else package


def lives_in(path: Path, homes: list[str]) -> bool:
    return any(path == Path(home) or Path(home) in path.parents for home in homes)


def test_there_are_files() -> None:
    assert {path.parts[0] for path in FILES} >= {"wire", "storage", "tasks"}


def test_imports_go_downwards() -> None:
    wrong = [
        f"{path} imports {module}"
        for path in FILES
        for module in imports(path)
        if folder_of(module) in LEVELS
        and folder_of(module) != path.parts[0]
        and LEVELS[folder_of(module)] <= LEVELS[path.parts[0]]
    ]

    assert wrong == []


def test_there_is_one_import_name() -> None:
    """Folders at the root are imported through shardline alone: else each module would be loaded twice."""
    bare = LEVELS.keys() - APART
    everywhere = [*FILES, *(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))]

    assert [f"{path} imports {module}" for path in everywhere for module in imports(path) if top(module) in bare] == []


def test_every_folder_is_linked() -> None:
    links = {path.name: path.readlink().as_posix() for path in (ROOT / "shardline").iterdir() if path.is_symlink()}

    assert links == {folder: f"../{folder}" for folder in LEVELS.keys() - APART}


def test_no_relative_imports() -> None:
    assert [str(path) for path in FILES for module in imports(path) if module.startswith(".")] == []


def test_dependencies_stay_at_home() -> None:
    """A dependency that HOMES does not know is refused too: whoever adds one says here where it lives."""
    known = sys.stdlib_module_names | APART | EVERYWHERE
    wrong = [
        f"{path} imports {module}"
        for path in FILES
        for module in imports(path)
        if top(module) not in known and not lives_in(path, HOMES.get(top(module), []))
    ]

    assert wrong == []


def test_packages_are_empty() -> None:
    """Importing one module of a folder loads no other."""
    filled = [str(path) for path in FILES if path.name == "__init__.py" and (ROOT / path).stat().st_size]

    assert [path for path in filled if path != "shardline/__init__.py"] == []


def test_client_shadows_no_standard_module() -> None:
    """A script's folder comes first on sys.path."""
    assert [str(path) for path in FILES if path.parts[0] == "client" and path.stem in sys.stdlib_module_names] == []


def loaded_by(*modules: str) -> set[str]:
    """The top-level names in sys.modules after a fresh Python imported these."""
    lines = [
        *(f"import {module}" for module in modules),
        "import sys",
        "print(*{n.split('.')[0] for n in sys.modules})",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def modules_of(folder: str) -> list[str]:
    paths = [path for path in FILES if path.parts[0] == folder and path.stem not in ("__init__", "__main__")]
    package = () if folder in APART else ("shardline",)
    return [".".join((*package, *path.with_suffix("").parts)) for path in paths]


@pytest.mark.parametrize("folder", ["wire", "storage", "tasks", "manifests", "client"])
def test_folders_without_torch(folder: str) -> None:
    assert loaded_by(*modules_of(folder)) & {"torch", "torchvision", "kserve"} == set()


def test_client_needs_only_its_own() -> None:
    """requests (with its urllib3), numpy and Pillow: the script runs where nothing else is installed."""
    assert loaded_by(*modules_of("client")) & HOMES.keys() <= {"requests", "urllib3", "PIL"}


@pytest.mark.skipif(Path("predictors/transformer.py") not in FILES, reason="there is no transformer yet")
def test_transformer_without_torch() -> None:
    """Its image stays small and its process starts fast."""
    assert loaded_by("shardline.predictors.transformer") & {"torch", "torchvision"} == set()
