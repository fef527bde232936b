"""Bundles as folders: written and changed in one step, opened only if every byte is right."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shardline.storage.bundle import Bundle, digest_of, parse_bundle
from shardline.storage.bundle_folder import changing_bundle, open_bundle, read_stage, writing_bundle
from shardline.wire.errors import BundleError

Write = Callable[..., Bundle]
FILES = [
    "whole.pt2",
    "stages/0/shard.pt2",
    "stages/0/golden.safetensors",
    "stages/1/shard.pt2",
    "stages/1/golden.safetensors",
]


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


ALTERATIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "is missing"),
    "a folder": (replace_by_folder, "is missing"),
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


class TestOpenBundle:
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


@pytest.fixture
def bundle_folder(write: Write, tmp_path: Path) -> Path:
    write(tmp_path / "small")
    return tmp_path / "small"


def test_files_come_and_go_and_the_rest_stays(bundle_folder: Path) -> None:
    before = open_bundle(bundle_folder)
    with changing_bundle(bundle_folder, ["stages/0/golden.safetensors", "more"]) as (draft, was):
        assert was == before
        assert not (draft / "stages/0/golden.safetensors").exists()
        (draft / "more").write_bytes(b"more")

    after = open_bundle(bundle_folder)
    kept = before.files.keys() - {"stages/0/golden.safetensors"}

    assert after.files.keys() == kept | {"more"}
    assert {path: after.files[path] for path in kept} == {path: before.files[path] for path in kept}
    assert after.digest != before.digest


def test_nothing_changed_is_the_same_bundle(bundle_folder: Path) -> None:
    before = open_bundle(bundle_folder)
    (bundle_folder / "unlisted").write_text("no part of it")

    with changing_bundle(bundle_folder, []):
        pass

    assert open_bundle(bundle_folder) == before
    assert not (bundle_folder / "unlisted").exists()


def test_a_failure_leaves_the_old_one(bundle_folder: Path) -> None:
    before = open_bundle(bundle_folder)

    def fail() -> None:
        with changing_bundle(bundle_folder, ["whole.pt2"]) as (draft, _):
            (draft / "whole.pt2").write_bytes(b"half of")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert open_bundle(bundle_folder) == before
    assert list(bundle_folder.parent.iterdir()) == [bundle_folder]


def test_somebody_else_s_change_is_not_lost(bundle_folder: Path) -> None:
    def change() -> Bundle:
        with changing_bundle(bundle_folder, ["a"]) as (draft, _):
            (draft / "a").write_text("mine")
            with changing_bundle(bundle_folder, ["b"]) as (other, _):
                (other / "b").write_text("theirs")
        return open_bundle(bundle_folder)

    with pytest.raises(BundleError, match="changed by another process meanwhile"):
        change()
    assert "b" in open_bundle(bundle_folder).files
