"""Archives of TorchServe's become bundles that answer as its image_classifier would."""

import io
import json
import pickle
import struct
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from PIL import Image
from services import small_models
from torchvision import transforms
from typer.testing import CliRunner

from shardline.__main__ import app
from shardline.formats.torchserve_import import (
    CLASSIFIER_PICTURE,
    ImportOptions,
    import_model,
    read_archive,
    unpack_all,
)
from shardline.partition.verify import LocalChain
from shardline.predictors.picture import to_pixels
from shardline.wire.errors import FormatError, ModelError

# ts/torch_handler/image_classifier.py of TorchServe 0.12 does this
PROCESSING = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ]
)
LABELS = {str(index): [f"n{index:08}", f"thing {index}"] for index in range(10)}
MODEL_PY = """
from pathlib import Path
from services.small_models import Residual
Path({trace!r}).write_text("run")
class Net(Residual):
    pass
"""


def archive(
    path: Path,
    serialized: bytes,
    *,
    handler: str = "image_classifier",
    model_py: str | None = None,
    labels: object = LABELS,
) -> Path:
    """As torch-model-archiver lays it out."""
    model = {"modelName": "net", "serializedFile": "net.pth", "handler": handler, "modelVersion": "1.0"}
    if model_py is not None:
        model["modelFile"] = "net_model.py"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model, "runtime": "python"}))
        file.writestr("net.pth", serialized)
        file.writestr("index_to_name.json", json.dumps(labels))
        if model_py is not None:
            file.writestr("net_model.py", model_py)
    return path


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.fixture
def eager(tmp_path: Path) -> Path:
    """Weights, and a Python file that leaves a trace where it is run."""
    text = MODEL_PY.format(trace=str(tmp_path / "trace"))
    return archive(tmp_path / "net.mar", saved(small_models.residual().state_dict()), model_py=text)


@pytest.fixture(autouse=True)
def _forgets() -> Iterator[None]:
    """A file out of an archive stays imported, as in TorchServe's worker; here another archive follows."""
    yield
    sys.modules.pop("net_model", None)


def test_an_archive_says_what_it_is(eager: Path) -> None:
    found = read_archive(eager)

    assert (found.name, found.kind, found.handler_name) == ("net", "eager", "image_classifier")
    assert found.labels[3] == "thing 3"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"0": "cat", "1": "dog"}, ("cat", "dog")),
        ({"1": ["n1", "dog"], "0": ["n0", "cat"]}, ("cat", "dog")),
        ({"object_type_names": ["cat", "dog"]}, ("cat", "dog")),
    ],
)
def test_labels_in_each_form_that_torchserve_takes(tmp_path: Path, labels: object, expected: tuple[str, ...]) -> None:
    assert read_archive(archive(tmp_path / "net.mar", b"", labels=labels)).labels == expected


def test_code_is_not_run_unless_it_is_trusted(eager: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"its model's code in net_model\.py, which would be run.*--trust"):
        import_model(read_archive(eager), ImportOptions())
    named = import_model(read_archive(eager), ImportOptions(model="services.small_models:residual"))
    assert not (tmp_path / "trace").exists()

    trusted = import_model(read_archive(eager), ImportOptions(trust=True))

    assert (tmp_path / "trace").exists()
    for model in (named, trusted):
        assert model.picture == CLASSIFIER_PICTURE
        for name, value in small_models.residual().state_dict().items():
            assert torch.equal(model.module.state_dict()[name], value)


def test_a_model_imports_packages_of_its_archive(tmp_path: Path) -> None:
    own = "from parts import net\nclass Mine(net.Net):\n    pass\n"
    path = archive(tmp_path / "net.mar", saved(small_models.residual().state_dict()), model_py=own)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("parts/", "")
        file.writestr("parts/net.py", MODEL_PY.format(trace=str(tmp_path / "trace")))

    import_model(read_archive(path), ImportOptions(trust=True))

    assert (tmp_path / "trace").exists()


def test_a_command_makes_a_bundle_that_answers_as_torchserve_would(
    eager: Path, tmp_path: Path, photographs: list[bytes]
) -> None:
    out = tmp_path / "bundle"
    arguments = [str(eager), "--out", str(out), "--name", "net", "--model", "services.small_models:residual"]
    result = CliRunner().invoke(app, ["import", "torchserve", *arguments], catch_exceptions=False)
    chain = LocalChain(out)

    assert result.exit_code == 0
    assert (len(chain.bundle.stages), chain.bundle.task.labels[0]) == (1, "thing 0")
    for picture in photographs[:2]:
        image = Image.open(io.BytesIO(picture)).convert("RGB")
        with torch.inference_mode():
            expected = small_models.residual().eval()(PROCESSING(image)[None]).numpy()
        pixels = to_pixels(picture, chain.bundle.picture, chain.bundle.limits)[None]
        [found] = chain.run_reference(pixels)[-1].values()
        assert abs(found - expected).max() < 1e-5
        assert found.argmax() == expected.argmax()


@pytest.mark.parametrize("how", ["traced", "scripted"])
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_torchscript_is_taken_over_when_it_is_trusted(tmp_path: Path, how: str) -> None:
    module = small_models.residual().eval()
    example = torch.rand(1, 3, 224, 224)
    script = torch.jit.trace(module, example) if how == "traced" else torch.jit.script(module)
    buffer = io.BytesIO()
    torch.jit.save(script, buffer)
    found = read_archive(archive(tmp_path / "net.mar", buffer.getvalue()))

    with pytest.raises(FormatError, match="is TorchScript, which is a program: add --trust"):
        import_model(found, ImportOptions())
    taken = import_model(found, ImportOptions(trust=True))

    pictures = torch.rand(3, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(taken.module(pictures), module(pictures))


def test_weights_that_would_run_code_are_refused_even_where_the_archive_is_trusted(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.mkdir, (str(tmp_path / "made"),)

    path = archive(tmp_path / "net.mar", pickle.dumps(Runs()), model_py="from services.small_models import Residual")

    with pytest.raises(ModelError, match="not a plain state dict"):
        import_model(read_archive(path), ImportOptions(model="services.small_models:residual", trust=True))

    assert not (tmp_path / "made").exists()


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    weights = small_models.residual().state_dict()
    del weights["head.bias"]
    path = archive(tmp_path / "net.mar", saved(weights), model_py="")

    with pytest.raises(ModelError, match="does not fit the model"):
        import_model(read_archive(path), ImportOptions(model="services.small_models:residual"))


@pytest.mark.parametrize(
    ("handler", "remedy"),
    [("object_detector", "imports image classifiers only"), ("my_handler.py", "--handler image_classifier")],
)
def test_other_handlers_are_refused_with_what_to_do(tmp_path: Path, handler: str, remedy: str) -> None:
    path = archive(tmp_path / "net.mar", b"", handler=handler, model_py="")

    with pytest.raises(FormatError, match=remedy):
        import_model(read_archive(path), ImportOptions(trust=True))


def test_a_handler_of_ones_own_is_said_to_be_a_classifier(tmp_path: Path) -> None:
    path = archive(tmp_path / "net.mar", saved(small_models.residual().state_dict()), handler="my.py", model_py="")
    options = ImportOptions(model="services.small_models:residual", handler="image_classifier", mean=(0.5, 0.5, 0.5))

    assert import_model(read_archive(path), options).mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "MANIFEST.json is missing"),
        ({"MAR-INF/MANIFEST.json": "[]"}, "not a JSON object"),
        ({"MAR-INF/MANIFEST.json": "{}"}, "has no model"),
        ({"MAR-INF/MANIFEST.json": '{"model": {"handler": "image_classifier"}}'}, "names no serializedFile"),
        ({"MAR-INF/MANIFEST.json": '{"model": {"serializedFile": "../x"}}', "../x": ""}, "not a file at the top"),
    ],
)
def test_archives_that_are_none(tmp_path: Path, members: dict[str, str], message: str) -> None:
    path = tmp_path / "net.mar"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)

    with pytest.raises(FormatError, match=message):
        read_archive(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 9, 99])
def test_odd_compression_is_refused(tmp_path: Path, method: int) -> None:
    path = archive(tmp_path / "net.mar", b"weights", model_py="")
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    [start] = struct.unpack_from("<I", data, end + 16)
    struct.pack_into("<H", data, start + 10, method)  # in the first entry of the archive's directory
    path.write_bytes(data)

    with pytest.raises(FormatError, match=r"allowed are deflate and none"):
        read_archive(path)


@pytest.mark.parametrize("offset", range(0, 400, 7))
def test_a_damaged_archive_is_one_line(tmp_path: Path, offset: int) -> None:
    path = archive(tmp_path / "net.mar", b"w" * 1000, model_py="x = 1")
    data = bytearray(path.read_bytes())
    data[-1 - offset] ^= 0xFF
    path.write_bytes(data)

    with suppress(FormatError):
        unpack_all(read_archive(path), tmp_path / "out")


def test_an_archive_that_is_much_larger_unpacked_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "net.mar", b"", model_py="")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("zeros", bytes(100 * 2**20))

    with pytest.raises(FormatError, match=r"net\.mar has 0\.1 MiB and 100\.0 MiB unpacked, more than 66\.0 MiB"):
        read_archive(path)


def test_what_is_no_zip(tmp_path: Path) -> None:
    path = tmp_path / "net.mar"
    path.write_bytes(b"not a zip")

    with pytest.raises(FormatError, match="is not a model archive"):
        read_archive(path)
