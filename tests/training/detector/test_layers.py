"""A detector says the same without its normalisation, and learns what it is shown."""

import pytest
import torch

from shardline.training.detector.layers import fold_normalisation, load_folded
from shardline.training.detector.model import HeadMaps, PlateDetector
from shardline.training.detector.readers import CHARACTER_SIDE, PLATE_SIZE
from shardline.wire.errors import ModelError

CPU = torch.device("cpu")


def said(model: PlateDetector, pictures: torch.Tensor) -> torch.Tensor:
    """All that the heads and the reader say, one after the other."""
    with torch.no_grad():
        maps, *read = show(model, pictures)
    values = [value for map in maps for value in (map.heat, map.classes, map.shape) if value is not None]
    return torch.cat([value.flatten() for value in (*values, *read)])


def show(model: PlateDetector, pictures: torch.Tensor) -> tuple[tuple[HeadMaps, ...], torch.Tensor, torch.Tensor]:
    """The pictures, and any parts of them, of the sizes that the readers take."""
    return model.heads(pictures, parts(pictures, (CHARACTER_SIDE, CHARACTER_SIDE)), parts(pictures, PLATE_SIZE))


def parts(pictures: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    wide = pictures.repeat(1, 1, 1, 2)
    return wide.unfold(2, size[0], size[0]).unfold(3, size[1], size[1]).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


def any_model() -> PlateDetector:
    """Normalised by statistics that are not 0 and 1."""
    torch.manual_seed(0)
    model = PlateDetector(normed=True).train()
    with torch.no_grad():
        for _ in range(3):
            pictures = torch.randn(4, 3, 64, 64) * 2 + 1
            show(model, pictures)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.2)
        model.text_reader.usual.normal_()
        model.text_reader.leaning.normal_()
    return model.eval()


def test_folding_changes_nothing_but_rounding() -> None:
    model, pictures = any_model(), torch.randn(2, 3, 64, 64)

    assert torch.allclose(said(model, pictures), said(fold_normalisation(model, PlateDetector()), pictures), atol=1e-4)
    assert said(model, pictures).std() > 1e-3


@pytest.mark.parametrize("training", [False, True])
def test_a_training_begins_with_what_weights_say(training: bool) -> None:
    folded, pictures = fold_normalisation(any_model(), PlateDetector()), torch.randn(4, 3, 128, 128)
    model = PlateDetector(normed=True)
    load_folded(model, folded.state_dict(), PlateDetector(), lambda: show(model, pictures))

    assert torch.allclose(said(model.train(training), pictures), said(folded, pictures), atol=1e-3)


def test_what_the_weights_lack_adds_nothing_at_first() -> None:
    folded, pictures = fold_normalisation(any_model(), PlateDetector()), torch.randn(4, 3, 128, 128)
    weights = {name: each for name, each in folded.state_dict().items() if not name.startswith("layers.3.2.")}
    with torch.no_grad():
        for weight in folded.get_submodule("layers.3.2.two.0").parameters():
            weight.zero_()
    model = PlateDetector(normed=True)
    load_folded(model, weights, PlateDetector(), lambda: show(model, pictures))

    assert torch.allclose(said(model.eval(), pictures), said(folded, pictures), atol=1e-3)


@pytest.mark.parametrize("change", [{"other.weight": torch.zeros(3)}, {"stem.0.weight": torch.zeros(8, 3, 3, 3)}])
def test_weights_of_another_model_are_refused(change: dict[str, torch.Tensor]) -> None:
    weights = PlateDetector().state_dict() | change

    with pytest.raises(ModelError, match="allowed are those that `shardline train plates` wrote"):
        load_folded(PlateDetector(normed=True), weights, PlateDetector(), list)
