"""gs://: URIs, credentials, and one clear line for all that goes wrong. What every store does is in tests/contracts."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services.bucket import Wire, shardline
from services.expiring_bucket import expiring
from services.processes import ROOT, stop, wait_until
from services.stores import put_bytes

from shardline.storage.bundle import Bundle
from shardline.storage.bundle_folder import open_bundle
from shardline.storage.gcs import CHUNK_BYTES
from shardline.storage.open import open_store
from shardline.storage.push import destination, prefix_of, pull, push
from shardline.storage.store import Access
from shardline.wire.errors import BundleError, ShardlineError, StorageError

Write = Callable[..., Bundle]
HASTY = Access(retry_s=0.5)


@contextmanager
def refusing(status: int, message: str) -> Iterator[str]:
    command = [sys.executable, "tests/services/refusing_bucket.py", str(status), message]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            stop(process)


class TestUri:
    @pytest.mark.parametrize(
        "uri",
        [
            "gs://",
            "gs:///models",
            "gs://Models/a",
            "gs://m/a",
            "gs://-models",
            "gs://models-",
            "gs://models/a//b",
            "gs://models/../b",
            "gs://models//",
            "gs://models/a?b",
            "gs://models/a#1",
            "gs://models/a*",
            "gs://models/a\nb",
            "gs://user@models/a",
            "gs://models:80/a",
        ],
    )
    def test_refused(self, uri: str) -> None:
        with pytest.raises(StorageError, match=re.escape(f"{uri!r} is no URI of a bucket")):
            open_store(uri, Access(anonymous=True))

    @given(st.text(max_size=30))
    def test_opens_or_says_why(self, text: str) -> None:
        with suppress(ShardlineError):
            open_store(f"gs://{text}", Access(anonymous=True))

    @pytest.mark.parametrize(
        "uri", ["gs://models", "gs://models/", "gs://models/a", "gs://models/a b/ü/", "gs://a.b_c/x"]
    )
    def test_opened(self, uri: str) -> None:
        open_store(uri, Access(anonymous=True))


class TestCredentials:
    @pytest.fixture(autouse=True)
    def _nowhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """No credentials on this machine, and no metadata server to ask."""
        for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        monkeypatch.setenv("NO_GCE_CHECK", "true")

    def test_none(self) -> None:
        with pytest.raises(StorageError, match=r"^gs://models: no Google credentials were found: .*--key-file"):
            open_store("gs://models/a")

    def test_key_file_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match=r"cannot be read .*--key-file"):
            open_store("gs://models/a", Access(key_file=tmp_path / "none.json"))

    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"type": "authorized_user"}', "key"])
    def test_no_key_file(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "key.json").write_text(text)

        with pytest.raises(StorageError, match="is no key file of a service account"):
            open_store("gs://models/a", Access(key_file=tmp_path / "key.json"))

    def test_the_environment_names_no_key_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))

        with pytest.raises(StorageError, match=r"^gs://models: "):
            open_store("gs://models/a")


@pytest.mark.slow
class TestRefused:
    @pytest.mark.parametrize(
        ("status", "message"),
        [
            (401, "Google asks for credentials"),
            (403, "no permission: to push, the account needs the role roles/storage.objectUser"),
            (404, "there is no such bucket"),
            (429, "quota is used up"),
            (500, "Google Cloud Storage refused"),
            (400, "Google Cloud Storage refused"),
        ],
    )
    def test_one_line(
        self, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, message: str
    ) -> None:
        """Google's own words are in it, its library's are not."""
        write(tmp_path / "bundle")
        with refusing(status, "builder@x\nmay not") as url:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
            for call in (
                lambda: push(tmp_path / "bundle", "gs://models/a", access=HASTY),
                lambda: pull("gs://models/a", tmp_path / "pulled", access=HASTY),
            ):
                with pytest.raises(StorageError) as raised:
                    call()
                assert re.match(r"gs://models(/a/\S*)?: ", str(raised.value))
                assert message in str(raised.value)
                assert status == 401 or f"({status}, builder@x may not)" in str(raised.value)

    def test_nobody_listens(self, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "bundle")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")

        with pytest.raises(
            StorageError, match=r"gs://models/a/small/\S+: the connection broke off: run the command again"
        ):
            push(tmp_path / "bundle", "gs://models/a", access=HASTY)

    def test_no_bucket(self, write: Write, tmp_path: Path, bucket: str) -> None:
        write(tmp_path / "bundle")

        with pytest.raises(StorageError, match=r"^gs://none: there is no such bucket"):
            push(tmp_path / "bundle", bucket.replace("models", "none"))


@pytest.fixture
def large(write: Write, tmp_path: Path) -> Bundle:
    """Its shards are small, its whole takes three chunks."""
    return write(tmp_path / "bundle", "a" * (2 * CHUNK_BYTES // 9 + 1000))


def mend_once_cut(wire: Wire) -> None:
    wait_until(lambda: wire.is_cut, "the connection is cut")
    wire.mend()


@pytest.mark.slow
class TestBroken:
    def test_a_repeated_push_sends_only_missing_files(
        self, large: Bundle, bucket: str, emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: Any
    ) -> None:
        """Cut in the second of the whole's three chunks, mended, and repeated: no shard is sent again."""
        shards_bytes = sum(entry.size_bytes for name, entry in large.files.items() if name != "whole.pt2")
        with Wire(emulator, cut_after=shards_bytes + CHUNK_BYTES * 3 // 2) as wire:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", wire.url)
            with pytest.raises(StorageError, match="the connection broke off"):
                push(tmp_path / "bundle", bucket, access=HASTY)
            wire.mend()
            assert not [name for name in open_store(bucket).names() if name.endswith("/small/bundle.json")]
            uri = push(tmp_path / "bundle", bucket, progress=counted)
            sent_bytes = wire.sent_bytes

        assert counted.skipped_bytes >= shards_bytes
        assert counted.skipped_bytes + counted.moved_bytes == counted.total_bytes
        assert sent_bytes < counted.moved_bytes + 100_000  # headers
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
        assert pull(uri, tmp_path / "pulled") == large

    @pytest.mark.parametrize("status", [404, 410])
    def test_a_file_whose_upload_session_ended_is_sent_again(
        self, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_bytes(bytes(CHUNK_BYTES + 1000))
        with expiring(status) as (url, objects):
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
            open_store("gs://models/demo").put("file", tmp_path / "file")

        assert objects == {"sent": (tmp_path / "file").read_bytes()}

    def test_a_short_loss_is_not_noticed(
        self, large: Bundle, bucket: str, emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Wire(emulator, cut_after=CHUNK_BYTES) as wire:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", wire.url)
            mending = threading.Thread(target=mend_once_cut, args=(wire,))
            mending.start()
            uri = push(tmp_path / "bundle", bucket)
            mending.join()

        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
        assert pull(uri, tmp_path / "pulled") == large

    def test_pull_fetches_the_rest(
        self, large: Bundle, bucket: str, emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: Any
    ) -> None:
        uri = push(tmp_path / "bundle", bucket)
        with Wire(emulator, cut_after_fetched=CHUNK_BYTES) as wire:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", wire.url)
            with pytest.raises(StorageError, match="the connection broke off"):
                pull(uri, tmp_path / "pulled", access=HASTY)
            assert not (tmp_path / "pulled").exists()
            wire.mend()
            assert pull(uri, tmp_path / "pulled", progress=counted) == large

        assert counted.skipped_bytes + counted.moved_bytes == counted.total_bytes
        assert open_bundle(tmp_path / "pulled") == large
        assert [path.name for path in tmp_path.glob(".pulled*")] == []


@pytest.mark.slow
class TestTogether:
    def test_two_pushes_at_once(self, large: Bundle, bucket: str, emulator: str, tmp_path: Path) -> None:
        env = {"STORAGE_EMULATOR_HOST": emulator}
        pushes = [shardline("push", str(tmp_path / "bundle"), bucket, env=env) for _ in range(2)]
        outputs = [process.communicate(timeout=120) for process in pushes]

        assert [process.returncode for process in pushes] == [0, 0], outputs
        assert {out.strip() for out, _ in outputs} == {destination(large, bucket)}
        assert pull(destination(large, bucket), tmp_path / "pulled") == large

    def test_two_pulls_at_once(self, large: Bundle, bucket: str, emulator: str, tmp_path: Path) -> None:
        uri = push(tmp_path / "bundle", bucket)
        env = {"STORAGE_EMULATOR_HOST": emulator}
        pulls = [shardline("pull", uri, str(tmp_path / "pulled"), env=env) for _ in range(2)]
        outputs = [process.communicate(timeout=120) for process in pulls]

        assert [process.returncode for process in pulls] == [0, 0], outputs
        assert open_bundle(tmp_path / "pulled") == large
        assert [path.name for path in tmp_path.glob(".pulled*")] == []


@pytest.mark.slow
class TestAltered:
    @pytest.mark.parametrize("name", ["whole.pt2", "stages/1/shard.pt2", "stages/0/bundle.json"])
    def test_flipped_byte(self, write: Write, bucket: str, tmp_path: Path, name: str) -> None:
        """Written as a whole object of its own, so that all of Google's checksums are right."""
        bundle = write(tmp_path / "bundle")
        uri = push(tmp_path / "bundle", bucket)
        store = open_store(uri)
        data = store.read(name)
        put_bytes(store, name, bytes([data[0] ^ 1]) + data[1:])

        with pytest.raises(BundleError, match=re.escape(name)):
            pull(uri, tmp_path / "pulled")
        assert not (tmp_path / "pulled").exists()
        assert push(tmp_path / "bundle", bucket) == uri
        assert pull(uri, tmp_path / "pulled") == bundle

    def test_missing_object(self, write: Write, bucket: str, tmp_path: Path) -> None:
        write(tmp_path / "bundle")
        uri = push(tmp_path / "bundle", bucket)
        open_store(uri).delete("stages/1/shard.pt2")

        with pytest.raises(StorageError, match=r"stages/1/shard.pt2 is not there"):
            pull(uri, tmp_path / "pulled")

    def test_prefix_of_another_name(self, write: Write, bucket: str, tmp_path: Path) -> None:
        """stages/1 is not stages/10, and what lies beside the prefix is not below it."""
        bundle = write(tmp_path / "bundle")
        push(tmp_path / "bundle", bucket)
        push(tmp_path / "bundle", f"{bucket}0")

        assert {name.removeprefix(f"{prefix_of(bundle)}/") for name in open_store(bucket).names()} == {
            path.relative_to(tmp_path / "bundle").as_posix()
            for path in (tmp_path / "bundle").rglob("*")
            if path.is_file()
        }


def test_a_proxy_is_not_asked_for_an_emulator_on_this_machine(
    bucket: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    bundle = write(tmp_path / "there")

    pushed = push(tmp_path / "there", bucket)

    assert pull(pushed, tmp_path / "back") == bundle
