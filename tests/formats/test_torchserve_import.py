"""Archives of TorchServe's become bundles that answer as its image_classifier would."""

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from services import small_models
from torchvision import transforms
from typer.testing import CliRunner

from formats.torchserve_archive import read_archive
from formats.torchserve_import import CLASSIFIER_PICTURE, Taking, take_over
from partition.verify import Chain
from predictors.picture import to_pixels
from shardline.__main__ import app
from wire.errors import FormatError

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
        take_over(read_archive(eager), Taking())
    named = take_over(read_archive(eager), Taking(model="services.small_models:residual"))
    assert not (tmp_path / "trace").exists()

    trusted = take_over(read_archive(eager), Taking(trust=True))

    assert (tmp_path / "trace").exists()
    for model in (named, trusted):
        assert model.picture == CLASSIFIER_PICTURE
        for name, value in small_models.residual().state_dict().items():
            assert torch.equal(model.module.state_dict()[name], value)


def test_a_command_makes_a_bundle_that_answers_as_torchserve_would(
    eager: Path, tmp_path: Path, photographs: list[bytes]
) -> None:
    out = tmp_path / "bundle"
    arguments = [str(eager), "--out", str(out), "--name", "net", "--model", "services.small_models:residual"]
    result = CliRunner().invoke(app, ["import", "torchserve", *arguments], catch_exceptions=False)
    chain = Chain(out)

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
