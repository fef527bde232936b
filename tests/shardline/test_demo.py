"""The license plate of the demo: drawn at random, asked about, and compared."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from services.processes import ROOT
from services.scripted import ScriptedServer

from shardline import demo
from shardline.training.samples import sample_files
from shardline.wire.errors import MissingPackageError

SEED = 3


PHOTOS = sample_files()[0].parent


def said(drawn: Any, **changes: object) -> dict[str, object]:
    """What a chain says that reads it right."""
    small, main = drawn.text.split()
    plate = {"type": drawn.kind, "sub_text": small, "main_text": main, "score": 0.95, "box": [10, 10, 90, 40]}
    return {"predictions": [[plate | changes]]}


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The demo's verdict on a server that says this."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    servers = []

    for photo in sample_files():
        (tmp_path / photo.name).symlink_to(photo)

    def ask(document: object) -> bool:
        servers.append(ScriptedServer({"POST /": [{"json": document}]}))
        right: bool = demo.ask_about_a_plate(servers[-1].url, tmp_path, SEED)
        return right

    yield ask
    for server in servers:
        server.stop()


def test_a_seed_draws_one_picture(tmp_path: Path) -> None:
    first, second, other = (
        demo.draw_plate(seed, PHOTOS, tmp_path / f"{number}.png") for number, seed in enumerate((SEED, SEED, SEED + 1))
    )

    assert first.path.read_bytes() == second.path.read_bytes()
    assert (first.kind, first.text) == (second.kind, second.text)
    assert first.text != other.text
    with Image.open(first.path) as picture:
        assert picture.mode == "RGB"


def test_what_is_read_right_is_said_to_be(answer: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    drawn = demo.draw_plate(SEED, PHOTOS, tmp_path / "again.png")

    assert answer(said(drawn))
    printed = capfd.readouterr().out
    assert f"read == drawn: {drawn.kind} {drawn.text}" in printed
    assert "┌──────" in printed
    assert (tmp_path / "plate-read.png").exists()


@pytest.mark.parametrize("changes", [{"main_text": "0000"}, {"main_text": None, "missing": ["main_text"]}])
def test_what_is_read_wrong_is_said_too(
    answer: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], changes: dict[str, object]
) -> None:
    drawn = demo.draw_plate(SEED, PHOTOS, tmp_path / "again.png")

    assert not answer(said(drawn, **changes))
    assert f"read is not what was drawn: drawn {drawn.kind} {drawn.text}, read" in capfd.readouterr().out


def test_two_plates_are_not_what_was_drawn(answer: Any, tmp_path: Path) -> None:
    document: Any = said(demo.draw_plate(SEED, PHOTOS, tmp_path / "again.png"))
    other = {**document["predictions"][0][0], "box": [200, 200, 290, 240]}

    assert not answer({"predictions": [[*document["predictions"][0], other]]})


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages that other tests imported count as installed wherever they lie: they are looked for again."""
    for package in itertools.chain.from_iterable(demo.EXTRAS.values()):
        monkeypatch.delitem(sys.modules, package, raising=False)


@pytest.mark.usefixtures("forgotten")
def test_missing_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the fonts and the emulator: an import path that has neither."""
    path = [folder for folder in sys.path if not any(Path(folder).glob("gcp_storage_emulator"))]
    monkeypatch.setattr(sys, "path", path)

    with pytest.raises(MissingPackageError, match=r"the demo needs a bucket emulator.*: pip install 'shardline\[local"):
        demo.check_packages("plates")


@pytest.mark.usefixtures("forgotten")
def test_another_model_needs_no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])

    with pytest.raises(MissingPackageError, match=r"shardline\[local,samples\]"):
        demo.check_packages("torchvision:squeezenet1_1")
