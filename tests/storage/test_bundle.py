"""bundle.json: written, parsed and refused, and the tensors that it describes."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardline.storage.bundle import Bundle, TensorSpec, digest_of, parse_bundle
from shardline.wire.errors import BundleError

Write = Callable[..., Bundle]


class TestTensorSpec:
    def test_shapes(self) -> None:
        spec = TensorSpec(name="x", dtype="F32", shape=("batch", 3, "64*batch"), dim_order=(0, 2, 1))

        assert spec.shape_for(2) == (2, 3, 128)
        assert spec.frame_shape_for(2) == (2, 128, 3)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | st.text(max_size=4),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=6,
)


def paths(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value in a JSON document."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else []
    )
    return [path, *(below for key, value in items for below in paths(value, (*path, key)))]


class TestParse:
    def test_round_trip(self, tmp_path: Path, small: Bundle, write: Write) -> None:
        for bundle in (small, write(tmp_path / "out")):
            assert parse_bundle(bundle.to_json()) == bundle
            assert parse_bundle(bundle.to_json()).to_json() == bundle.to_json()

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_any_value_anywhere(self, data: st.DataObject) -> None:
        """Any value at any position gives a bundle that is written back unchanged, or a BundleError."""
        document = json.loads(SMALL_JSON)
        path = data.draw(st.sampled_from(paths(document)[1:]))
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = data.draw(json_values)
        altered = (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()

        with contextlib.suppress(BundleError):
            assert parse_bundle(altered).to_json() == altered

    @given(st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
    def test_junk(self, data: bytes) -> None:
        with pytest.raises(BundleError):
            parse_bundle(data)

    def test_schema_1_is_read_and_keeps_its_digest(self) -> None:
        bundle = parse_bundle(SMALL_JSON_1)

        assert bundle.to_json() == SMALL_JSON_1
        assert bundle.digest == digest_of(SMALL_JSON_1)
        assert bundle.stages[0].compiled == ()
        assert bundle.portable_tolerance is bundle.compiled_tolerance is None

    def test_schema_2_is_read_and_keeps_its_digest(self) -> None:
        document = json.loads(SMALL_JSON)
        del document["picture"]["mode"], document["task"]["options"], document["inputs"]
        data = (json.dumps({**document, "schema_version": 2}, indent=1, sort_keys=True) + "\n").encode()

        bundle = parse_bundle(data)

        assert bundle.digest == digest_of(data)
        assert bundle.picture.mode == "RGB"
        assert bundle.task.options == {}

    def test_cut_at_every_byte(self) -> None:
        for end in range(len(SMALL_JSON)):
            with pytest.raises(BundleError):
                parse_bundle(SMALL_JSON[:end])


SMALL_JSON = b"""{
 "batch": 1,
 "compiled_tolerance": {
  "max_relative_error": 0.0001,
  "top1_agreement": 1.0
 },
 "files": {
  "stages/0/compiled/cpu/any.pt2": {
   "sha256": "cb8379ac2098aa165029e3938a51da0bcecfc008fd6795f401178647f96c5b34",
   "size_bytes": 3
  },
  "stages/0/shard.pt2": {
   "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
   "size_bytes": 3
  }
 },
 "inputs": [],
 "limits": {
  "body_bytes": 33554432,
  "pixels": 50000000,
  "request_bytes": 6291456
 },
 "max_instances": 1,
 "model": "torchvision:small",
 "name": "small",
 "picture": {
  "fit": "crop",
  "height": 8,
  "interpolation": "bilinear",
  "mode": "RGB",
  "resize": null,
  "width": 8
 },
 "portable_tolerance": null,
 "precision": "fp32",
 "schema_version": 3,
 "stages": [
  {
   "compiled": [
    {
     "batch": null,
     "cpu_features": [
      "avx2",
      "f16c",
      "fma3"
     ],
     "gpu_architecture": null,
     "machine": "x86_64",
     "path": "compiled/cpu/any.pt2",
     "system": "linux",
     "target": "cpu",
     "threads": null,
     "torch_version": "2.14.1"
    }
   ],
   "cut": null,
   "index": 0,
   "inputs": [
    {
     "dim_order": [
      0,
      1
     ],
     "dtype": "U8",
     "name": "pixels",
     "shape": [
      "batch",
      8
     ],
     "strides": null
    }
   ],
   "model_ms": 1.5,
   "output_bytes": 12,
   "outputs": [],
   "weight_bytes": 40
  }
 ],
 "task": {
  "labels": [
   "cat"
  ],
  "name": "classify",
  "options": {}
 },
 "threads": 1,
 "torch_version": "2.14.1",
 "weights": "random:0"
}
"""

# as Shardline 0.1 wrote it before there were compiled packages
SMALL_JSON_1 = b"""{
 "batch": 1,
 "files": {
  "stages/0/shard.pt2": {
   "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
   "size_bytes": 3
  }
 },
 "limits": {
  "body_bytes": 33554432,
  "pixels": 50000000,
  "request_bytes": 6291456
 },
 "max_instances": 1,
 "model": "torchvision:small",
 "name": "small",
 "picture": {
  "fit": "crop",
  "height": 8,
  "interpolation": "bilinear",
  "resize": null,
  "width": 8
 },
 "precision": "fp32",
 "schema_version": 1,
 "stages": [
  {
   "cut": null,
   "index": 0,
   "inputs": [
    {
     "dim_order": [
      0,
      1
     ],
     "dtype": "U8",
     "name": "pixels",
     "shape": [
      "batch",
      8
     ],
     "strides": null
    }
   ],
   "model_ms": 1.5,
   "output_bytes": 12,
   "outputs": [],
   "weight_bytes": 40
  }
 ],
 "task": {
  "labels": [
   "cat"
  ],
  "name": "classify"
 },
 "threads": 1,
 "torch_version": "2.14.1",
 "weights": "random:0"
}
"""


def test_the_page_shows_a_true_example() -> None:
    """docs/bundle.md has SMALL_JSON, which is what Shardline writes, and its digest."""
    page = (Path(__file__).parents[2] / "docs" / "bundle.md").read_text(encoding="utf-8")

    assert parse_bundle(SMALL_JSON).to_json() == SMALL_JSON
    assert SMALL_JSON.decode() in page
    assert digest_of(SMALL_JSON) in page
