"""The detector's shapes, its decoding, and that it can be cut anywhere."""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch.utils._pytree import tree_leaves

from shardline.partition.capture import Pixels, capture, random_pixels, run_whole, whole_module
from shardline.partition.cut import Shard, cut
from shardline.partition.liveness import Liveness, analyse
from shardline.partition.models import Model, load_model
from shardline.partition.prepare import in_precision
from shardline.partition.program import runnable
from shardline.partition.tensors import to_numpy, to_torch
from shardline.training.detector.model import HeadMaps, PlateDetector, decode

SHAPES = [(16, 4), (16, 2), (16, 2), (32, 4), (32, 4), (128, 4), (128, 15), (16, 7, 16)]


@pytest.fixture(scope="module")
def captured() -> tuple[Model, Liveness]:
    model = load_model("shardline.training.detector.model:PlateDetector", "random:1", size=128)
    return model, analyse(capture(model))


def run_chain(shards: Sequence[Shard], pixels: torch.Tensor) -> list[torch.Tensor]:
    tensors = {shards[0].inputs[0].name: pixels.numpy()}
    for shard in shards:
        inputs = [to_torch(tensors[spec.name], spec) for spec in shard.inputs]
        with torch.inference_mode():
            outputs = tree_leaves(runnable(shard.program)(*inputs))
        tensors = {spec.name: to_numpy(value, spec) for spec, value in zip(shard.outputs, outputs, strict=True)}
    return [to_torch(tensors[spec.name], spec) for spec in shards[-1].outputs]


@pytest.mark.parametrize("stages", [2, 3, 5])
def test_the_chain_equals_the_whole_wherever_it_is_cut(stages: int, captured: tuple[Model, Liveness]) -> None:
    model, liveness = captured
    choose = random.Random(stages)
    indexes = sorted(choose.sample(range(len(liveness.positions)), stages - 1))
    shards = list(cut(liveness, [liveness.positions[index] for index in indexes], random_pixels(model, 2)))

    for batch in (1, 3):
        pixels = random_pixels(model, batch, seed=batch)
        for left, right in zip(run_chain(shards, pixels), run_whole(whole_module(model), pixels), strict=True):
            assert torch.equal(left, right)


class Checked(torch.fx.Interpreter):
    """Runs a program and remembers which of its values are no numbers."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.infinite: list[str] = []

    def run_node(self, node: torch.fx.Node) -> object:
        value = super().run_node(node)
        if isinstance(value, torch.Tensor) and not torch.isfinite(value).all():
            self.infinite.append(node.name)
        return value


def test_only_numbers_can_cross_a_cut(captured: tuple[Model, Liveness]) -> None:
    """`build` takes a shard that gives infinity for one with broken weights."""
    model, liveness = captured
    checked = Checked(runnable(liveness.program))
    with torch.inference_mode():
        checked.run(random_pixels(model, 1))

    assert checked.infinite == []


def test_outputs_have_fixed_shapes_also_in_bf16(captured: tuple[Model, Liveness]) -> None:
    model, _ = captured
    for precision in ("fp32", "bf16"):
        found = run_whole(whole_module(in_precision(model, precision)), random_pixels(model, 2))

        assert [tuple(result.shape) for result in found] == [(2, *shape) for shape in SHAPES]
        assert {result.dtype for result in found} == {torch.float32}


def test_two_bytes_a_weight_fit_the_repository() -> None:
    assert sum(item.numel() for item in PlateDetector().state_dict().values()) * 2 < 12e6


def test_other_sizes_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="multiple of 128"):
        PlateDetector().eval()(torch.zeros(1, 3, 100, 128))


def maps_with(peaks: dict[tuple[int, int, int], float], classes: int = 2, side: int = 12) -> HeadMaps:
    """Heat of -9 but for `peaks`: (class, y, x) -> logit. Boxes 4 × 2 places with the centre amid its place."""
    heat, told = torch.full((1, 1, side, side), -9.0), torch.zeros(1, classes, side, side)
    for (label, y, x), logit in peaks.items():
        heat[0, 0, y, x] = logit
        told[0, label, y, x] = math.log(3)
    shape = torch.tensor([0.5, 0.5, math.log(4), math.log(2)]).view(1, 4, 1, 1).expand(1, 4, side, side)
    turn = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, side, side)
    return HeadMaps(heat=heat, classes=told, shape=shape, orientation=turn, stride=4)


def test_what_has_no_classes_has_one_score() -> None:
    _, scores, _ = decode([replace(maps_with({(0, 3, 5): 1.0}), classes=None)], 4)

    assert scores.shape == (1, 4, 1)
    assert float(scores[0, 0, 0]) == pytest.approx(1 / (1 + math.exp(-1)))


def test_the_reader_sees_the_pixels_that_were_sent() -> None:
    model = load_model("shardline.training.detector.model:PlateDetector", "random:1", size=128)
    pixels = random_pixels(model, 2)
    whole, detector = whole_module(model), model.module
    assert isinstance(whole, Pixels)
    assert isinstance(detector, PlateDetector)

    assert torch.equal(detector.pixels(whole.normalised(pixels)), pixels)


def test_peaks_become_boxes_best_first() -> None:
    boxes, scores, turns = decode([maps_with({(0, 3, 5): 1.0, (1, 8, 2): 3.0})], 4)

    assert boxes[0, :2].flatten().tolist() == pytest.approx([2, 30, 18, 38, 14, 10, 30, 18])
    assert scores[0, 0].tolist() == pytest.approx([0.25 / (1 + math.exp(-3)), 0.75 / (1 + math.exp(-3))])
    assert scores[0, 1].tolist() == pytest.approx([0.75 / (1 + math.exp(-1)), 0.25 / (1 + math.exp(-1))])
    assert turns[0, 0].tolist() == pytest.approx([0.6, 0.8])


def test_places_without_a_peak_have_no_score() -> None:
    maps = maps_with({(0, 3, 5): 1.0})
    falling = replace(maps, heat=maps.heat - torch.arange(12).view(1, 1, 12, 1))  # one peak
    scores = decode([falling], 100)[1]

    assert 0 < int((scores > 0).any(2).sum()) < 30
    assert (scores[0, -1] == 0).all()


def test_what_is_less_than_its_neighbour_in_another_class_is_no_peak() -> None:
    _, scores, _ = decode([maps_with({(0, 3, 5): 3.0, (1, 3, 6): 2.0})], 16)

    assert int((scores[0].sum(1) > 0.5).sum()) == 1


@pytest.mark.parametrize("dy", [-1, 0, 1])
@pytest.mark.parametrize("dx", [-1, 0, 1])
def test_equal_neighbours_are_found_once(dx: int, dy: int) -> None:
    _, scores, _ = decode([maps_with({(0, 5, 5): 2.0, (1, 5 + dy, 5 + dx): 2.0})], 16)

    assert int((scores[0].sum(1) > 0.5).sum()) == 1


def test_peaks_two_places_apart_are_two() -> None:
    places = itertools.product((2, 4), (2, 4, 6))
    _, scores, _ = decode([maps_with({(0, y, x): 2.0 for y, x in places})], 16)

    assert int((scores[0].sum(1) > 0.5).sum()) == 6


def on_two_levels(fine_logit: float, coarse_logit: float) -> list[HeadMaps]:
    """One thing of 16 × 8 pixels at (28, 28), as class 0 on the first level and as class 1 on the second."""
    fine, coarse = maps_with({(0, 6, 6): fine_logit}), maps_with({(1, 3, 3): coarse_logit})
    half = torch.tensor([0, 0, math.log(2), math.log(2)]).view(1, 4, 1, 1)
    middle = torch.tensor([0.5, 0.5, 0, 0]).view(1, 4, 1, 1)
    return [replace(fine, shape=fine.shape + middle), replace(coarse, shape=coarse.shape - half)]


@pytest.mark.parametrize(("fine", "coarse", "label"), [(1.0, 2.0, 1), (2.0, 1.0, 0), (1.0, 1.0, 0)])
def test_of_one_thing_on_two_levels_the_surer_is_kept(fine: float, coarse: float, label: int) -> None:
    boxes, scores, _ = decode(on_two_levels(fine, coarse), 8)

    assert boxes[0, 0].tolist() == pytest.approx([20, 24, 36, 32])
    assert int(scores[0, 0].argmax()) == label
    assert (scores[0, 1:].sum(1) < 0.01).all()


@pytest.mark.parametrize(("sizes", "label"), [((0, 12), 1), ((9, 99), 0), ((0, 99), 1), ((8, 16), 1), ((9, 12), None)])
def test_each_level_keeps_what_is_of_its_sizes(sizes: tuple[float, float], label: int | None) -> None:
    """The longer side has 16 pixels on the first level and 8 on the second, which would be the surer."""
    _, scores, _ = decode(on_two_levels(1.0, 2.0), 8, sizes)
    found = scores[0, scores[0].sum(1) > 0.5].argmax(1).tolist()

    assert found == ([] if label is None else [label])


def test_the_first_level_keeps_what_is_smaller_and_the_last_what_is_larger() -> None:
    fine, coarse = on_two_levels(1.0, 1.0)
    nothing = replace(fine, heat=torch.full_like(fine.heat, -9.0))

    for levels in ([fine, nothing], [nothing, coarse]):
        _, scores, _ = decode(levels, 8, (17, 20) if levels[0] is fine else (1, 2))
        assert scores[0, 0].sum() > 0.5


def test_what_is_seen_at_half_the_size_is_as_large_as_it_is() -> None:
    """The same picture, once twice as large: what one level says of the first, the other says of the second."""
    torch.manual_seed(0)
    model = PlateDetector().eval()
    small = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        own = model.levels(small)
        twice = model.levels(torch.nn.functional.interpolate(small, scale_factor=2.0))

    for mine, larger in zip(own, twice, strict=True):
        for level, same in zip(mine, larger[1:], strict=False):
            assert torch.allclose(level.heat, same.heat, atol=1e-4)
