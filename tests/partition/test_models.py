"""A reference and its weights become a model, or one clear line."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from services.small_models import Residual
from torch import nn
from torch.export import Dim

from shardline.partition.capture import capture, random_pixels, run_whole, whole_module
from shardline.partition.models import load_model
from shardline.partition.program import runnable
from shardline.storage.bundle import IMAGENET_MEAN, IMAGENET_STD, PictureSpec
from shardline.wire.errors import FileError, ModelError, ShardlineError, UsageError

RESIDUAL = "services.small_models:residual"


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.marker,)


def exported(path: Path, pixels: torch.Tensor, module: nn.Module, *, dynamic: bool = True) -> str:
    shapes = ({0: Dim("batch", min=1, max=64)},) if dynamic else None
    torch.export.save(torch.export.export(module.eval(), (pixels,), dynamic_shapes=shapes, strict=False), path)
    return str(path)


class OwnNormalisation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.conv(pixels.float() / 255)
        return features.mean((2, 3))


# references


def test_torchvision_by_name_with_arguments() -> None:
    model = load_model("torchvision:resnet18?num_classes=7", "random:0")

    assert model.module.get_parameter("fc.weight").shape == (7, 512)
    assert model.weights == "random:0"
    assert model.random
    assert (model.mean, model.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert model.labels == ()  # ImageNet's thousand do not name seven classes
    assert not model.module.training


def test_a_factory_gives_the_module_in_evaluation_mode_as_built() -> None:
    model = load_model(RESIDUAL)

    assert isinstance(model.module, Residual)
    assert not model.module.training
    assert model.weights == "as built"
    assert not model.random
    assert model.labels == ()
    assert model.picture == PictureSpec(height=224, width=224, fit="crop", resize=256, interpolation="bilinear")


def test_a_program_with_normalised_input_gets_its_normalisation(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    model = load_model(exported(tmp_path / "float.pt2", torch.rand(2, 3, 28, 56), module))
    pixels = random_pixels(model, 3)

    expected = module(
        (pixels.float() / 255 - torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        / torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    )
    found = run_whole(runnable(capture(model)), pixels)

    assert not model.takes_pixels
    assert model.picture == PictureSpec(height=28, width=56, fit="stretch")
    assert torch.equal(found[0], expected)


def test_a_program_with_pixels_as_input_is_taken_as_it_is(tmp_path: Path) -> None:
    module = OwnNormalisation()
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    model = load_model(exported(tmp_path / "pixels.pt2", pixels, module))

    assert model.takes_pixels
    assert torch.equal(run_whole(runnable(capture(model)), pixels)[0], module(pixels))
    assert torch.equal(run_whole(whole_module(model), pixels)[0], module(pixels))


def test_a_program_takes_weights_of_a_file(tmp_path: Path) -> None:
    reference = exported(tmp_path / "float.pt2", torch.rand(2, 3, 8, 8), nn.Sequential(nn.Conv2d(3, 4, 3)))
    weights = {"0.weight": torch.ones(4, 3, 3, 3), "0.bias": torch.zeros(4)}
    save_file(weights, tmp_path / "w.safetensors")

    model = load_model(reference, str(tmp_path / "w.safetensors"))

    assert torch.equal(model.module(torch.ones(1, 3, 8, 8)), torch.full((1, 4, 6, 6), 27.0))


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("vit_b_16", PictureSpec(height=224, width=224, resize=256)),
        ("swin_t", PictureSpec(height=224, width=224, resize=232, interpolation="bicubic")),
        ("inception_v3", PictureSpec(height=299, width=299, resize=342)),
        ("resnet50", PictureSpec(height=224, width=224, resize=232)),
    ],
)
def test_pictures_are_those_of_torchvisions_own_preset(name: str, picture: PictureSpec) -> None:
    assert load_model(f"torchvision:{name}", "random:0").picture == picture


def test_a_segmentation_sees_the_whole_picture_and_has_no_auxiliary_head() -> None:
    model = load_model("torchvision:lraspp_mobilenet_v3_large", "random:0", size=32)
    auxiliary = load_model("torchvision:deeplabv3_mobilenet_v3_large?aux_loss=True", "random:0")

    assert model.task == "segment"
    assert model.picture == PictureSpec(height=32, width=32, fit="stretch")
    assert auxiliary.picture == PictureSpec(height=520, width=520, fit="stretch")
    assert model.labels[:2] == ("__background__", "aeroplane")
    assert [tuple(found.shape) for found in run_whole(whole_module(model), random_pixels(model, 1))] == [
        (1, 21, 32, 32)
    ]
    assert auxiliary.module.get_submodule("classifier")
    assert dict(auxiliary.module.named_children()).keys() == {"backbone", "classifier"}


def test_size_takes_the_place_of_the_models_own_and_keeps_the_margin() -> None:
    model = load_model("torchvision:resnet18", "random:0", size=112)

    assert (model.picture.height, model.picture.width, model.picture.resize) == (112, 112, 128)


@pytest.mark.slow
def test_a_package_in_the_current_folder_is_found(tmp_path: Path) -> None:
    package = tmp_path / "mypackage"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "nets.py").write_text("import torch\n\ndef net():\n    return torch.nn.Conv2d(3, 2, 1)\n")
    (tmp_path / "tool.py").write_text(
        "from shardline.partition.models import load_model\nprint(load_model('mypackage.nets:net').module)\n"
    )
    elsewhere = tmp_path / "bin"
    elsewhere.mkdir()
    script = (tmp_path / "tool.py").rename(elsewhere / "tool.py")  # a script's own folder is what Python looks in

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    found = subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert "Conv2d(3, 2" in found.stdout, found.stderr


# weights


def test_random_weights_of_one_seed_are_equal_to_the_bit_and_of_another_differ() -> None:
    first, again, other = (
        load_model("torchvision:resnet18", f"random:{seed}").module.state_dict() for seed in (3, 3, 4)
    )

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_random_weights_leave_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_model(RESIDUAL, "random:9")

    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("kind", ["safetensors", "pt", "pth"])
def test_weights_of_a_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"random_{kind}.{kind}"  # a file may be called so
    state = {name: value + 1 for name, value in Residual().state_dict().items()}
    save_file(state, path) if kind == "safetensors" else torch.save(state, path)

    model = load_model(RESIDUAL, str(path))

    assert model.weights == str(path)
    assert not model.random
    assert all(torch.equal(value, state[name]) for name, value in model.module.state_dict().items())


@pytest.mark.usefixtures("closed_network")
def test_weights_of_a_file_for_torchvision_need_no_download(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    state = load_model("torchvision:squeezenet1_1", "random:8").module.state_dict()
    save_file(state, path)

    model = load_model("torchvision:squeezenet1_1", str(path))

    assert torch.equal(model.module.state_dict()["features.0.weight"], state["features.0.weight"])
    assert len(model.labels) == 1000


def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path: Path) -> None:
    path, marker = tmp_path / "w.pt", tmp_path / "marker"
    torch.save({"weight": Runs(marker)}, path)

    line = refused(RESIDUAL, str(path))

    assert "is not a plain state dict" in line
    assert "save it with safetensors" in line
    assert not marker.exists()


# what is refused, with one line


@pytest.fixture
def closed_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Downloads go to a proxy that nobody listens at, and nothing is cached."""
    urllib.request.install_opener(None)  # urllib reads the proxies once and keeps them
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield
    urllib.request.install_opener(None)


def refused(reference: str, weights: str | None = None, error: type[ShardlineError] = ModelError) -> str:
    with pytest.raises(error) as caught:
        load_model(reference, weights)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600
    return line


@pytest.mark.parametrize("weights", [None, "IMAGENET1K_V1", "DEFAULT"])
@pytest.mark.usefixtures("closed_network")
@pytest.mark.timeout(60)
def test_a_download_that_fails_says_what_to_give_instead(weights: str | None) -> None:
    line = refused("torchvision:squeezenet1_1", weights)

    assert "the weights IMAGENET1K_V1 could not be downloaded" in line
    assert "--weights FILE.safetensors or random:SEED" in line


@pytest.mark.parametrize(
    ("reference", "weights", "expected", "error"),
    [
        (
            "resnet18",
            None,
            "names no model; allowed are torchvision:NAME, timm:NAME, package.module:factory and a .pt2 file",
            UsageError,
        ),
        ("torchvision:", None, "names no model", UsageError),
        (":factory", None, "names no model", UsageError),
        ("torchvision:resnet19", "random:0", "no model 'resnet19'", UsageError),
        (
            "torchvision:raft_large",
            "random:0",
            "no model 'raft_large' for the tasks",
            UsageError,
        ),
        (
            "torchvision:resnet18",
            "IMAGENET1K_V9",
            "it has IMAGENET1K_V1; a file or random:SEED is taken too",
            UsageError,
        ),
        ("torchvision:resnet50", "V1", "it has IMAGENET1K_V1, IMAGENET1K_V2;", UsageError),
        ("torchvision:resnet18?num_classes", "random:0", "write arguments as ?name=value", UsageError),
        ("torchvision:resnet18?num_classes=open('x')", "random:0", "write arguments as ?name=value", UsageError),
        ("torchvision:resnet18?colour=1", "random:0", "unexpected keyword argument 'colour'", ModelError),
        ("torchvision:vit_b_16?image_size=63", "random:0", "torchvision does not build it", ModelError),
        ("torchvision:resnet18?num_classes=-1", "random:0", "torchvision does not build it", ModelError),
        ("torchvision:resnet18", "random", "write random:SEED with a whole number", UsageError),
        ("torchvision:resnet18", "random:", "write random:SEED", UsageError),
        ("torchvision:resnet18", "random:-1", "write random:SEED", UsageError),
        ("torchvision:resnet18", "random:x", "write random:SEED", UsageError),
        ("torchvision:resnet18", f"random:{2**64}", "write random:SEED", UsageError),
        (RESIDUAL, "nowhere.safetensors", "--weights nowhere.safetensors does not exist", FileError),
        (RESIDUAL, "nowhere.pt", "--weights nowhere.pt does not exist", FileError),
        (RESIDUAL, "IMAGENET1K_V1", "--weights IMAGENET1K_V1 does not exist", FileError),
        ("services.nowhere:residual", None, "do you stand in its folder?", ModelError),
        ("services.small_models:nowhere", None, "has no attribute 'nowhere'", ModelError),
        ("services.small_models:not_a_module", None, "gave a int; it must give a torch.nn.Module", ModelError),
        (
            "services.small_models:failing",
            None,
            "raised KeyError at tests/services/small_models.py:424: 'no such thing'",
            ModelError,
        ),
        ("services.small_models:Slow.forward", None, "has no attribute", ModelError),
        ("nowhere.pt2", None, "nowhere.pt2 does not exist", ModelError),
    ],
)
def test_what_does_not_fit_is_one_line(
    reference: str, weights: str | None, expected: str, error: type[ShardlineError]
) -> None:
    assert expected in refused(reference, weights, error)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"weight": torch.zeros(2)}, "Missing key"),
        ({**Residual().state_dict(), "head.weight": torch.zeros(11, 8)}, "size mismatch for head.weight"),
        ({**Residual().state_dict(), "extra": torch.zeros(1)}, "Unexpected key"),
    ],
    ids=["keys", "shape", "extra"],
)
def test_weights_of_another_model_are_refused(state: dict[str, torch.Tensor], expected: str, tmp_path: Path) -> None:
    save_file(state, tmp_path / "w.safetensors")

    line = refused(RESIDUAL, str(tmp_path / "w.safetensors"))

    assert "does not fit the model" in line
    assert expected in line


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("data", [b"", b"not weights at all", b"PK\x03\x04 not weights", b"\x80\x04."])
def test_weights_that_are_damaged_are_refused(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)

    line = refused(RESIDUAL, str(tmp_path / name), ShardlineError)  # FileError or ModelError, whichever torch reports

    assert f"--weights {tmp_path / name}" in line


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_weights_that_are_a_folder_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()

    assert "cannot be read" in refused(RESIDUAL, str(tmp_path / name), FileError)


def test_a_module_in_place_of_a_factory_is_taken() -> None:
    assert isinstance(load_model("services.output_models:BUILT", size=32).module, nn.Module)
    assert "takes no arguments; leave ?classes=3 out" in refused(
        "services.output_models:BUILT?classes=3", None, UsageError
    )


@pytest.mark.parametrize("text", ["true", "none"])
def test_a_word_that_is_nearly_a_literal_is_no_string(text: str) -> None:
    assert "write arguments as ?name=value" in refused(f"torchvision:resnet18?progress={text}", "random:0", UsageError)


@pytest.mark.parametrize(
    ("shape", "dynamic", "expected"),
    [
        ((2, 3, 8, 8), False, "has the fixed batch 2; export it with a dynamic first dimension"),
        ((2, 2, 8, 8), True, "must first take a tensor [batch, channels, height, width] of 1, 3 or 4 channels"),
        ((2, 3, 8), True, "must first take a tensor [batch, channels, height, width]"),
    ],
)
def test_a_program_of_other_pictures_is_refused(
    shape: tuple[int, ...], dynamic: bool, expected: str, tmp_path: Path
) -> None:
    reference = exported(tmp_path / "x.pt2", torch.zeros(shape), nn.ReLU(), dynamic=dynamic)

    assert expected in refused(reference)


def test_a_program_of_pictures_of_any_size_is_refused(tmp_path: Path) -> None:
    shapes = ({0: Dim("batch"), 2: Dim("height"), 3: Dim("width")},)
    program = torch.export.export(nn.ReLU(), (torch.zeros(2, 3, 8, 9),), dynamic_shapes=shapes, strict=False)
    torch.export.save(program, tmp_path / "x.pt2")

    assert "export it with a fixed height and width" in refused(str(tmp_path / "x.pt2"))


def test_random_weights_for_a_program_are_refused(tmp_path: Path) -> None:
    reference = exported(tmp_path / "x.pt2", torch.zeros(2, 3, 8, 8), nn.ReLU())

    assert "comes with its own weights" in refused(reference, "random:0", UsageError)
