"""The bundle through its public doors: written in one step, read only when every byte is right."""

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardline.storage.bundle import Bundle, TensorSpec, digest_of, parse_bundle
from shardline.storage.bundle_folder import open_bundle, read_stage, writing_bundle
from shardline.wire.errors import BundleError

Write = Callable[..., Bundle]
FILES = [
    "whole.pt2",
    "stages/0/shard.pt2",
    "stages/0/golden.safetensors",
    "stages/1/shard.pt2",
    "stages/1/golden.safetensors",
]
ALTERATIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "is missing"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is missing"),
    "empty": (lambda path: path.write_bytes(b""), "has 0 bytes"),
    "short": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, the bundle lists"),
    "long": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "bytes, the bundle lists"),
    "altered": (lambda path: path.write_bytes(b"?" + path.read_bytes()[1:]), "has sha256"),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestWriting:
    def test_what_is_written(self, tmp_path: Path, write: Write) -> None:
        bundle = write(tmp_path / "out")

        copies = ["bundle.json", "stages/0/bundle.json", "stages/1/bundle.json"]
        pointers = ["stages/0/stage.json", "stages/1/stage.json"]
        assert sorted(contents(tmp_path / "out")) == sorted(FILES + copies + pointers)
        assert sorted(bundle.files) == sorted(FILES)
        assert open_bundle(tmp_path / "out") == bundle
        assert bundle.digest == digest_of((tmp_path / "out/bundle.json").read_bytes())

    def test_same_content_same_digest(self, tmp_path: Path, write: Write) -> None:
        assert write(tmp_path / "a").digest == write(tmp_path / "b").digest
        assert write(tmp_path / "a").digest != write(tmp_path / "b", fill="b").digest

    def test_replaces_a_bundle(self, tmp_path: Path, write: Write) -> None:
        write(tmp_path / "out")
        (tmp_path / "out/left over").touch()

        bundle = write(tmp_path / "out", fill="b")

        assert open_bundle(tmp_path / "out") == bundle
        assert not (tmp_path / "out/left over").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_fills_an_empty_folder(self, tmp_path: Path, write: Write) -> None:
        (tmp_path / "out").mkdir()

        bundle = write(tmp_path / "out")

        assert open_bundle(tmp_path / "out") == bundle

    def test_makes_parents(self, tmp_path: Path, write: Write) -> None:
        bundle = write(tmp_path / "a/b/out")

        assert open_bundle(tmp_path / "a/b/out") == bundle

    def test_through_a_link(self, tmp_path: Path, write: Write) -> None:
        write(tmp_path / "real")
        (tmp_path / "link").symlink_to(tmp_path / "real")

        bundle = write(tmp_path / "link", fill="b")

        assert (tmp_path / "link").is_symlink()
        assert open_bundle(tmp_path / "real") == bundle

    def test_crash_leaves_the_old_bundle(self, tmp_path: Path, write: Write) -> None:
        write(tmp_path / "out")
        before = contents(tmp_path / "out")

        def crash() -> None:
            with writing_bundle(tmp_path / "out") as (draft, _):
                (draft / "half").write_text("…")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            crash()

        assert contents(tmp_path / "out") == before
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_crash_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), writing_bundle(tmp_path / "out"):
            raise KeyboardInterrupt

        assert list(tmp_path.iterdir()) == []

    def test_not_sealed(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="not sealed"), writing_bundle(tmp_path / "out"):
            pass

        assert list(tmp_path.iterdir()) == []

    def test_refuses_a_folder_that_is_no_bundle(self, tmp_path: Path, write: Write) -> None:
        (tmp_path / "precious").write_text("thesis")

        with pytest.raises(BundleError, match="is not a bundle"):
            write(tmp_path)

        assert (tmp_path / "precious").read_text() == "thesis"

    @pytest.mark.parametrize("out", ["file", "file/out"])
    def test_refuses_a_file(self, tmp_path: Path, write: Write, out: str) -> None:
        (tmp_path / "file").write_text("thesis")

        with pytest.raises(BundleError, match="cannot be written"):
            write(tmp_path / out)


class TestReadBundle:
    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize(("alter", "message"), ALTERATIONS.values(), ids=ALTERATIONS.keys())
    def test_files(
        self, tmp_path: Path, write: Write, name: str, alter: Callable[[Path], object], message: str
    ) -> None:
        write(tmp_path / "out")
        alter(tmp_path / "out" / name)

        with pytest.raises(BundleError, match=f"^{name}.*{message}"):
            open_bundle(tmp_path / "out")

    def test_no_bundle(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match=r"bundle\.json cannot be read"):
            open_bundle(tmp_path)

    def test_a_stage_of_another_bundle(self, tmp_path: Path, write: Write) -> None:
        write(tmp_path / "out")
        write(tmp_path / "other", fill="b")
        shutil.copy(tmp_path / "other/bundle.json", tmp_path / "out/stages/1/bundle.json")

        with pytest.raises(BundleError, match=r"stages/1/bundle\.json differs"):
            open_bundle(tmp_path / "out")

    @pytest.mark.parametrize("name", ["whole.pt2", "stages/0/shard.pt2"])
    def test_program_that_is_not_listed(self, tmp_path: Path, write: Write, name: str) -> None:
        """It would be loaded with nobody having checked it."""
        bundle = write(tmp_path / "out")
        files = {path: entry for path, entry in bundle.files.items() if path != name}
        for copy in (tmp_path / "out").rglob("bundle.json"):
            copy.write_bytes(replace(bundle, files=files).to_json())

        with pytest.raises(BundleError, match=f"does not list {name}"):
            open_bundle(tmp_path / "out")


class TestReadStage:
    @pytest.fixture
    def pod(self, tmp_path: Path, write: Write) -> Path:
        """A folder with stage 1's own files and nothing else, as a pod gets it."""
        write(tmp_path / "out")
        return Path(shutil.copytree(tmp_path / "out/stages/1", tmp_path / "pod"))

    def test_alone(self, tmp_path: Path, pod: Path) -> None:
        bundle = open_bundle(tmp_path / "out")

        assert read_stage(pod) == (bundle, bundle.stages[1])
        assert read_stage(pod, bundle.digest) == (bundle, bundle.stages[1])

    @pytest.mark.parametrize("name", ["shard.pt2", "golden.safetensors"])
    @pytest.mark.parametrize(("alter", "message"), ALTERATIONS.values(), ids=ALTERATIONS.keys())
    def test_files(self, pod: Path, name: str, alter: Callable[[Path], object], message: str) -> None:
        alter(pod / name)

        with pytest.raises(BundleError, match=f"stages/1/{name}.*{message}"):
            read_stage(pod)

    @pytest.mark.parametrize("name", ["bundle.json", "stage.json"])
    def test_json_missing(self, pod: Path, name: str) -> None:
        (pod / name).unlink()

        with pytest.raises(BundleError, match=f"{name} cannot be read"):
            read_stage(pod)

    def test_altered_bundle_json(self, pod: Path) -> None:
        bundle = parse_bundle((pod / "bundle.json").read_bytes())
        (pod / "bundle.json").write_bytes(replace(bundle, threads=8).to_json())

        with pytest.raises(BundleError, match="the manifest names"):
            read_stage(pod, bundle.digest)

    def test_shard_of_another_bundle(self, tmp_path: Path, pod: Path, write: Write) -> None:
        write(tmp_path / "other", fill="b")
        shutil.copy(tmp_path / "other/stages/1/shard.pt2", pod)

        with pytest.raises(BundleError, match=r"stages/1/shard\.pt2 has sha256"):
            read_stage(pod)

    def test_bundle_json_of_another_bundle(self, tmp_path: Path, pod: Path, write: Write) -> None:
        write(tmp_path / "other", fill="b")
        shutil.copy(tmp_path / "other/bundle.json", pod)

        with pytest.raises(BundleError, match=r"stages/1/shard\.pt2 has sha256"):
            read_stage(pod)

    def test_lying_pointer(self, pod: Path) -> None:
        (pod / "stage.json").write_text('{"stage": 0}')

        with pytest.raises(BundleError, match=r"stages/0/shard\.pt2"):
            read_stage(pod)

    @pytest.mark.parametrize("index", ["-1", "2", "true", "1.0", '"1"', "null", "[1]"])
    def test_pointer_to_no_stage(self, pod: Path, index: str) -> None:
        (pod / "stage.json").write_text(f'{{"stage": {index}}}')

        with pytest.raises(BundleError, match="the bundle has 0 to 1"):
            read_stage(pod)

    @pytest.mark.parametrize("text", ["", "1", "[]", "{", "[" * 100_000, "\ud800".encode(errors="surrogatepass")])
    def test_junk_pointer(self, pod: Path, text: str | bytes) -> None:
        (pod / "stage.json").write_bytes(text if isinstance(text, bytes) else text.encode())

        with pytest.raises(BundleError, match=r"stage\.json is not"):
            read_stage(pod)


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


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value in a JSON document."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else []
    )
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


class TestParse:
    def test_round_trip(self, tmp_path: Path, small: Bundle, write: Write) -> None:
        for bundle in (small, write(tmp_path / "out")):
            assert parse_bundle(bundle.to_json()) == bundle
            assert parse_bundle(bundle.to_json()).to_json() == bundle.to_json()

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_any_value_anywhere(self, data: st.DataObject) -> None:
        """Whatever stands in whatever place: a bundle that writes itself back, or a BundleError."""
        document = json.loads(SMALL_JSON)
        path = data.draw(st.sampled_from(places(document)[1:]))
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
 "portable_tolerance": null,
 "precision": "fp32",
 "schema_version": 2,
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
  "name": "classify"
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
