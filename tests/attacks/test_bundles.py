"""Hostile bundles: every bundle.json that a stranger could push, what it is refused with, and that refusing is cheap.

Each MUST of docs/bundle.md about bundle.json names its attack here by the key in ATTACKS.
"""

import copy
import json
import re
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from shardline.storage.bundle import BUNDLE_JSON_BYTES, parse_bundle
from shardline.storage.bundle_folder import read_stage
from shardline.wire.errors import BundleError

DOCS = Path(__file__).parents[2] / "docs" / "bundle.md"
SECONDS = 10.0  # far above what a busy machine needs: it catches what grows without bound
PEAK_BYTES = 32 * BUNDLE_JSON_BYTES
SHA256 = "0" * 64
SPEC = {"name": "x", "dtype": "F32", "shape": ["batch", 3], "dim_order": [0, 1], "strides": None}
STAGE = {
    "index": 0,
    "cut": None,
    "inputs": [SPEC],
    "outputs": [SPEC],
    "model_ms": 1.0,
    "weight_bytes": 1,
    "output_bytes": 1,
    "compiled": [],
}
PACKAGE = {
    "path": "shard.pt2",
    "target": "cpu",
    "batch": None,
    "torch_version": "2.14.1",
    "system": "linux",
    "machine": "x86_64",
    "cpu_features": ["avx2"],
    "gpu_architecture": None,
    "threads": None,
}
TOLERANCE = {"max_relative_error": 1e-4, "top1_agreement": 1.0}
VALID: dict[str, Any] = {
    "name": "small",
    "model": "torchvision:small",
    "weights": "random:0",
    "precision": "fp32",
    "torch_version": "2.14.1",
    "task": {"name": "classify", "labels": [], "options": {}},
    "picture": {"height": 8, "width": 8, "fit": "crop", "resize": None, "interpolation": "bilinear", "mode": "RGB"},
    "limits": {"request_bytes": 1, "body_bytes": 1, "pixels": 1},
    "batch": 1,
    "max_instances": 1,
    "threads": 1,
    "stages": [STAGE],
    "files": {"stages/0/shard.pt2": {"sha256": SHA256, "size_bytes": 1}},
    "portable_tolerance": None,
    "compiled_tolerance": None,
    "inputs": [],
    "schema_version": 3,
}
INPUT = {"name": "mask", "kind": "tensor", "dtype": "F32", "shape": [1, 8, 8]}


def written(document: object) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def changed(value: object, *path: str | int) -> bytes:
    """VALID with `value` at `path`."""
    document = copy.deepcopy(VALID)
    parent: Any = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return written(document)


def without(name: str) -> bytes:
    return written({key: value for key, value in VALID.items() if key != name})


def file_named(name: str) -> bytes:
    return changed({name: {"sha256": SHA256, "size_bytes": 1}}, "files")


def package(**fields: object) -> bytes:
    compiled = {**STAGE, "compiled": [{**PACKAGE, **fields}]}
    return written({**VALID, "stages": [compiled], "compiled_tolerance": TOLERANCE})


def tolerance(error: object, agreement: object) -> bytes:
    return changed({"max_relative_error": error, "top1_agreement": agreement}, "compiled_tolerance")


def stages(*indexes: object) -> bytes:
    return changed([{**STAGE, "index": index} for index in indexes], "stages")


ATTACKS: dict[str, tuple[bytes, str]] = {
    # the bytes
    "empty": (b"", "not JSON"),
    "not JSON": (b"PK\x03\x04", "not JSON"),
    "not UTF-8": (b'{"\xff": 1}', "not JSON"),
    "an array": (b"[]", "not a JSON object"),
    "nested": (b'{"a":' * 100_000, "not JSON"),
    "number of 5000 digits": (b'{"schema_version": ' + b"9" * 5000 + b"}", "not JSON"),
    "over the cap": (b" " * (BUNDLE_JSON_BYTES + 1), "allowed are 16777216"),
    "other spacing": (json.dumps(VALID, sort_keys=True).encode(), "its bytes are not"),
    "repeated key": (written(VALID).replace(b'"batch": 1', b'"batch": 9,\n "batch": 1'), "its bytes are not"),
    "trailing newline": (written(VALID) + b"\n", "its bytes are not"),
    # the version
    "no version": (without("schema_version"), "schema_version None"),
    "version of tomorrow": (changed(4, "schema_version"), "schema_version 4"),
    "version true": (changed(True, "schema_version"), "schema_version True"),
    "version 1.0": (changed(1.0, "schema_version"), "schema_version 1.0"),
    "version 1 with what came with 2": (changed(1, "schema_version"), "its bytes are not"),
    "input that stage 0 does not take": (changed([INPUT], "inputs"), "inputs are not those that stage 0 takes"),
    "input with the picture's name": (
        changed([INPUT | {"name": "image_bytes"}], "inputs"),
        "the name 'image_bytes', which a request cannot give",
    ),
    "input of another kind": (
        changed([INPUT | {"kind": "code"}], "inputs"),
        "inputs[0].kind is 'code', not one of tensor, picture",
    ),
    "input of a dtype that no request has": (
        changed([INPUT | {"dtype": "BF16"}], "inputs"),
        "inputs has 'BF16' (1, 8, 8) for 'mask'",
    ),
    "further picture of another shape": (
        changed([INPUT | {"kind": "picture", "dtype": "U8"}], "inputs"),
        "a picture of another shape than the first",
    ),
    "picture of a mode that is none": (changed("CMYK", "picture", "mode"), "picture.mode is 'CMYK'"),
    # the fields
    "field missing": (without("stages"), "lacks ['stages']"),
    "field unknown": (changed(1, "__class__"), "has the unknown ['__class__']"),
    "field unknown deep down": (changed(1, "stages", 0, "inputs", 0, "code"), "stages[0].inputs[0] has the unknown"),
    "field of the wrong type": (changed("1", "batch"), "batch is str, not int"),
    "whole number that is a bool": (changed(True, "threads"), "threads is bool, not int"),
    "text that is a list": (changed(["a"], "name"), "name is list, not str"),
    "list that is text": (changed("abc", "task", "labels"), "task.labels is str, not list"),
    "object that is a list": (changed([], "files"), "files is list, not dict"),
    "none where none is allowed": (changed(None, "limits"), "limits is NoneType, not dict"),
    "batch of 0": (changed(0, "batch"), "batch is 0"),
    "no instances": (changed(-1, "max_instances"), "max_instances is -1"),
    "no threads": (changed(0, "threads"), "threads is 0"),
    "name that is a path": (changed("../other", "name"), "name is '../other'"),
    "name with a line break": (changed("a\nb", "name"), "name is 'a\\nb'"),
    # the stages
    "no stages": (stages(), "stages are []"),
    "stages turned round": (stages(1, 0), "stages are [1, 0]"),
    "stage left out": (stages(0, 2), "stages are [0, 2]"),
    "stage twice": (stages(0, 0), "stages are [0, 0]"),
    "stage is negative": (stages(-1), "stages are [-1]"),
    "stage is a bool": (stages(False), "stages[0].index is bool"),
    "stage of half": (stages(0.0), "stages[0].index is float"),
    "time is NaN": (changed(float("nan"), "stages", 0, "model_ms"), "model_ms is nan"),
    "time is negative": (changed(-1, "stages", 0, "model_ms"), "model_ms is -1"),
    "dimension is negative": (changed([-1, 3], "stages", 0, "inputs", 0, "shape"), "the dimension -1"),
    "dimension is code": (changed(["__import__('os')", 3], "stages", 0, "inputs", 0, "shape"), "the dimension"),
    "dimension of zero batches": (
        changed(["0*batch", 3], "stages", 0, "outputs", 0, "shape"),
        "the dimension '0*batch'",
    ),
    "dimensions out of range": (changed([0, 2], "stages", 0, "inputs", 0, "dim_order"), "the dim_order"),
    "dimensions twice": (changed([0, 0], "stages", 0, "inputs", 0, "dim_order"), "the dim_order"),
    "dimensions too few": (changed([0], "stages", 0, "inputs", 0, "dim_order"), "the dim_order"),
    "strides too few": (changed([1], "stages", 0, "inputs", 0, "strides"), "the strides"),
    "stride is negative": (changed([-1, 1], "stages", 0, "inputs", 0, "strides"), "the dimension"),
    # compiled packages
    "rounded without a tolerance": (changed("bf16", "precision"), "no portable_tolerance"),
    "compiled without a tolerance": (changed([PACKAGE], "stages", 0, "compiled"), "no compiled_tolerance"),
    "precision of nobody": (changed("fp8", "precision"), "precision is 'fp8'"),
    "package not listed": (package(path="other.pt2"), "'other.pt2', which files do not list"),
    "package above": (package(path="../1/shard.pt2"), "which files do not list"),
    "package for another target": (package(target="tpu"), "the target 'tpu'"),
    "package for no batch": (package(batch=0), "batch 0"),
    "package for no threads": (package(threads=-1), "threads -1"),
    "package for a GPU without one": (package(target="cuda"), "gpu_architecture"),
    "package for the CPU with a GPU": (package(gpu_architecture="sm_90"), "gpu_architecture"),
    "package with a line break": (package(machine="x86\nforged"), "not printable text"),
    "package with a feature that is a line break": (package(cpu_features=["\n"]), "not printable text"),
    "tolerance is NaN": (tolerance(float("nan"), 1), "max_relative_error is nan"),
    "tolerance without end": (tolerance(float("inf"), 1), "max_relative_error is inf"),
    "tolerance is negative": (tolerance(-1, 1), "max_relative_error is -1"),
    "agreement over all": (tolerance(0, 1.5), "top1_agreement is 1.5"),
    # the files
    "file above": (file_named("../../etc/passwd"), "files has '../../etc/passwd'"),
    "file above from inside": (file_named("stages/0/../../../shadow"), "not a path inside"),
    "file absolute": (file_named("/etc/passwd"), "files has '/etc/passwd'"),
    "file with two slashes": (file_named("stages//0"), "not a path inside"),
    "file of another system": (file_named("..\\..\\boot.ini"), "not a path inside"),
    "file with a null byte": (file_named("stages/0/a\0b"), "not a path inside"),
    "file without a name": (file_named(""), "not a path inside"),
    "file that is the folder": (file_named("."), "not a path inside"),
    "sha256 too short": (changed("00", "files", "stages/0/shard.pt2", "sha256"), "no sha256"),
    "sha256 in capitals": (changed("A" * 64, "files", "stages/0/shard.pt2", "sha256"), "no sha256"),
    "size is negative": (changed(-1, "files", "stages/0/shard.pt2", "size_bytes"), "no sha256 and size"),
    # what fills memory or time
    "a million stages": (written({**VALID, "stages": [0] * 1_000_000}), "stages[0] is int"),
    "twenty thousand files": (
        changed({f"../{number}": {"sha256": "", "size_bytes": 1} for number in range(20_000)}, "files"),
        "not a path inside",
    ),
}


def test_valid() -> None:
    assert parse_bundle(written(VALID)).name == "small"


def test_valid_with_a_package() -> None:
    assert parse_bundle(package()).stages[0].compiled[0].cpu_features == ("avx2",)


@pytest.mark.parametrize(("data", "message"), ATTACKS.values(), ids=ATTACKS.keys())
def test_refused_cheaply(data: bytes, message: str) -> None:
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(BundleError) as caught:
            parse_bundle(data)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert re.search(re.escape(message), str(caught.value))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert peak_bytes < PEAK_BYTES
    assert time.perf_counter() - start < SECONDS


@pytest.mark.parametrize("name", ["file above", "file absolute"])
def test_no_file_outside_is_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "bundle.json").write_bytes(ATTACKS[name][0])
    (tmp_path / "stage.json").write_text('{"stage": 0}')

    with pytest.raises(BundleError, match="not a path inside"):
        read_stage(tmp_path)


def test_bundle_json_that_never_ends(tmp_path: Path) -> None:
    """It is read up to the cap, not to its end: a sparse file of 1 GB costs 16 MB."""
    with (tmp_path / "bundle.json").open("wb") as file:
        file.truncate(1024**3)
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match="allowed are"):
            read_stage(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 3 * BUNDLE_JSON_BYTES
    finally:
        tracemalloc.stop()


def test_every_must_names_its_attack() -> None:
    """docs/bundle.md: each row of the table of MUSTs ends with keys of ATTACKS, and no attack is left out."""
    rows = re.findall(r"^\| bundle\.json MUST.*\|(.*)\|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    named = [key.strip() for row in rows for key in row.split(";")]

    assert sorted(named) == sorted(ATTACKS)
