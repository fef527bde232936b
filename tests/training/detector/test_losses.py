"""The targets, decoded, are the objects of the picture; losses are least at the targets."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shardline.training.detector.losses import DetectionTarget, detection_losses, focal_loss, heat_radius, make_target
from shardline.training.detector.model import STRIDES, HeadMaps, decode
from shardline.training.detector.objects import Column

SIDE, LABELS = 128, 15
BOARD, GROUP, CHARACTER = 0, 1, 2


def thing(
    kind: int, label: int, box: Sequence[float], *, known: bool = True, angle: float = 0.0
) -> NDArray[np.float32]:
    left, top, right, bottom = box
    row = np.zeros(len(Column), np.float32)
    row[[Column.KIND, Column.CLASS, Column.KNOWN]] = kind, label, known
    row[[Column.X, Column.Y]] = (left + right) / 2, (top + bottom) / 2
    row[[Column.WIDTH, Column.HEIGHT]] = right - left, bottom - top
    row[[Column.COSINE, Column.SINE]] = np.cos(angle), np.sin(angle)
    return row


def as_maps(target: DetectionTarget, stride: int) -> HeadMaps:
    """HeadMaps of a detector that says just what it should."""
    batch, _, height, width = target.heat.shape
    classes = torch.zeros(batch, LABELS, height, width)
    shape, turn = torch.zeros(batch, 4, height, width), torch.zeros(batch, 2, height, width)
    picture, y, x = target.positions.unbind(1)
    classes[picture, target.classes, y, x] = 20.0
    shape[picture, :, y, x], turn[picture, :, y, x] = target.shape, target.orientation
    return HeadMaps(heat=torch.logit(target.heat, 1e-4), classes=classes, shape=shape, orientation=turn, stride=stride)


def targets_of(things: Sequence[NDArray[np.float32]]) -> list[DetectionTarget]:
    return [make_target(kind, things, SIDE, stride) for kind, stride in enumerate(STRIDES)]


def maps_of(targets: Sequence[DetectionTarget]) -> list[HeadMaps]:
    return [as_maps(target, stride) for target, stride in zip(targets, STRIDES, strict=True)]


boxes = st.tuples(st.floats(0, 120), st.floats(0, 120), st.floats(6, 70), st.floats(6, 60)).map(
    lambda each: (each[0] - each[2] / 2, each[1] - each[3] / 2, each[0] + each[2] / 2, each[1] + each[3] / 2)
)


@given(kind=st.sampled_from((0, 1, 2)), box=boxes, angle=st.floats(-0.4, 0.4), label=st.integers(0, 1))
@settings(max_examples=50, deadline=None)
def test_what_is_wanted_decodes_to_what_is_there(
    kind: int, box: tuple[float, float, float, float], angle: float, label: int
) -> None:
    target = make_target(kind, [np.stack([thing(kind, label, box, angle=angle)])], SIDE, STRIDES[kind])

    found, scores, turns = decode([as_maps(target, STRIDES[kind])], 16)

    assert found[0, 0].tolist() == pytest.approx(box, abs=1e-2)
    assert int(scores[0, 0].argmax()) == label
    assert scores[0, 0, label] > 0.99
    assert turns[0, 0].tolist() == pytest.approx([np.cos(angle), np.sin(angle)], abs=1e-4)


@pytest.mark.parametrize("kind", [BOARD, GROUP, CHARACTER])
def test_what_is_too_large_for_the_maps_is_nothing_there(kind: int) -> None:
    largest = {BOARD: 276, GROUP: 276, CHARACTER: 74}[kind]
    for side, asked in ((largest - 1, True), (largest + 1, False)):
        row = np.stack([thing(kind, 1, (150 - side / 2, 140, 150 + side / 2, 160))])
        target = make_target(kind, [row], 320, STRIDES[kind])

        assert bool(target.heat.any()) == bool(len(target.positions)) == asked
        assert not target.ignored.any()


@pytest.mark.parametrize(("x", "y", "centres"), [(42, 42, 1), (44, 42, 2), (42, 44, 2), (44, 44, 4), (43, 42, 2)])
def test_a_centre_near_a_border_is_at_both_sides_of_it(x: float, y: float, centres: int) -> None:
    target = make_target(BOARD, [np.stack([thing(BOARD, 1, (x - 30, y - 10, x + 30, y + 10))])], SIDE, STRIDES[BOARD])

    found, scores, _ = decode([as_maps(target, STRIDES[BOARD])], 16)

    assert int((target.heat == 1).sum()) == centres
    assert int((scores[0].amax(1) > 0.9).sum()) == 1
    assert found[0, 0].tolist() == pytest.approx([x - 30, y - 10, x + 30, y + 10], abs=1e-2)


def test_characters_seven_pixels_apart_are_told_apart() -> None:
    row = [thing(CHARACTER, label, (20 + 7 * label, 40, 25 + 7 * label, 50)) for label in range(7)]
    target = make_target(CHARACTER, [np.stack(row)], SIDE, STRIDES[CHARACTER])

    found, scores = decode([as_maps(target, STRIDES[CHARACTER])], 7)[:2]

    assert sorted(scores[0].argmax(1).tolist()) == list(range(7))
    assert scores[0].amax(1).min() > 0.99
    for box, label in zip(found[0], scores[0].argmax(1).tolist(), strict=True):
        assert box.tolist() == pytest.approx([20 + 7 * label, 40, 25 + 7 * label, 50], abs=1e-2)


@pytest.mark.parametrize("known", [True, False])
def test_what_cannot_be_told_is_neither_there_nor_not(known: bool) -> None:
    row = np.stack([thing(BOARD, 0, (40, 40, 80, 60), known=known)])
    target = make_target(BOARD, [row], SIDE, STRIDES[BOARD])
    said = torch.full_like(target.heat, -9.0).requires_grad_()
    torch.autograd.backward(focal_loss(said, target.heat, target.ignored))
    assert said.grad is not None
    inside = said.grad[0, :, 10:15, 10:20]

    assert bool(target.heat.any()) == known
    assert bool(inside.abs().sum() > 0) == known
    assert (said.grad[0, :, 20:] != 0).all()


def test_a_centre_outside_the_picture_is_not_asked_for() -> None:
    rows = np.stack([thing(BOARD, 0, (-60, 40, 20, 60)), thing(BOARD, 1, (100, 100, 300, 190))])
    target = make_target(BOARD, [rows], SIDE, STRIDES[BOARD])

    assert not target.heat.any()
    assert len(target.positions) == 0
    assert target.ignored[0, 0, 10:15, :5].all()


def test_a_picture_without_things_has_a_loss() -> None:
    empty = np.zeros((0, len(Column)), np.float32)
    targets = targets_of([empty, empty])
    maps = maps_of(targets)
    found = detection_losses(maps, targets)

    assert set(found) >= {"boards_heat", "groups_heat", "characters_heat", "characters_shape", "orientation"}
    assert all(0 <= float(result) < 0.1 for result in found.values())


@pytest.mark.parametrize("wanted", range(3))
def test_the_loss_is_least_where_all_is_right(wanted: int) -> None:
    rows = np.stack([thing(kind, 1, (40, 40, 80, 60)) for kind in range(3)])
    targets = targets_of([rows])
    maps = maps_of(targets)
    right = float(sum(detection_losses(maps, targets).values()))
    totals = [right]
    for part in (maps[wanted].shape, maps[wanted].classes, maps[wanted].heat):
        assert part is not None
        part.neg_()
        totals.append(float(sum(detection_losses(maps, targets).values())))

    assert totals == sorted(set(totals))


@given(width=st.floats(1, 100), height=st.floats(1, 100))
@settings(max_examples=100, deadline=None)
def test_boxes_moved_by_the_radius_overlap_enough(width: float, height: float) -> None:
    reach = float(heat_radius(torch.tensor([[width, height]], dtype=torch.float64))[0])
    area = width * height
    shifted = (width - reach) * (height - reach)
    inner = (width - 2 * reach) * (height - 2 * reach)
    outer = area / ((width + 2 * reach) * (height + 2 * reach))

    assert min(shifted / (2 * area - shifted), inner / area, outer) == pytest.approx(0.7, abs=1e-6)
