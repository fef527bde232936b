"""The crops of a second pass, and the plates that result from both passes.

The detector of these tests knows every plate of a picture, finds those that are 8 pixels wide in 512, and reads those
of 72.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shardline.client.plates import Plate, move, read_plates
from shardline.client.tiling import Crop, Detection, Tiling, find_plates, merge, plan_crops, tiles
from shardline.wire.limits import PLATE_INPUT_SIDE
from shardline.wire.view import View

Size = tuple[int, int]
Spot = tuple[float, float, float, float]  # centre, width, angle
THRESHOLD = 0.7


def plate(x: float, y: float, width: float, *, score: float = 0.9, text: str = "3456", angle: float = 0.0) -> Plate:
    """A long plate; its box is that of a turned rectangle."""
    height, radians = width / 5, math.radians(angle)
    across = abs(width * math.cos(radians)) + abs(height * math.sin(radians))
    down = abs(width * math.sin(radians)) + abs(height * math.cos(radians))
    said = {
        "type": "long", "score": score, "sub_text": "12A" if text else None, "main_text": text or None,
        "board_center_p": [x, y], "width": width, "height": height, "angle": angle,
        "box": [x - across / 2, y - down / 2, x + across / 2, y + down / 2],
    }  # fmt: skip
    (read,) = read_plates([said]) or []
    return read


@dataclass
class KnowingDetector:
    size: Size
    spots: Sequence[Spot]
    asked: list[tuple[Crop, float]] = field(default_factory=list)

    def __call__(self, crops: Sequence[Crop], score: float) -> list[list[Plate]]:
        self.asked += [(crop, score) for crop in crops]
        return [
            [seen for spot in self.spots if (seen := self.see(crop, spot)) and seen.score >= score] for crop in crops
        ]

    def see(self, crop: Crop, spot: Spot) -> Plate | None:
        x, y, width, angle = spot
        there = move(plate(x, y, width, angle=angle), View(width=9, height=9, left=-crop.left, top=-crop.top))
        box, wide = there.box, width * crop.scale
        if wide < 8 or box[2] < 0 or box[3] < 0 or box[0] > crop.width or box[1] > crop.height:
            return None
        whole = wide >= 72 and box[0] >= 0 and box[1] >= 0 and box[2] <= crop.width and box[3] <= crop.height
        score = 0.95 if whole else min(0.5, wide / 100)
        return plate(*there.center, width, score=score, text="3456" if whole else "", angle=angle)


def test_a_plate_that_is_too_small_at_first_is_read_in_a_crop() -> None:
    detector = KnowingDetector((4000, 3000), [(1234, 2345, 150, 12)])
    (found,) = find_plates(detector.size, detector, threshold=THRESHOLD)

    (whole, low), (closer, high) = detector.asked
    assert (whole.size, low, high) == (detector.size, 0.02, THRESHOLD)
    assert closer.width == closer.height == 480
    assert (found.whole, found.center) == (True, (1234, 2345))


def test_a_plate_that_is_read_well_costs_one_request() -> None:
    detector = KnowingDetector((2000, 1500), [(900, 700, 500, 0)])

    assert [found.text for found in find_plates(detector.size, detector, threshold=THRESHOLD)] == ["12A 3456"]
    assert len(detector.asked) == 1


@pytest.mark.parametrize(("size", "tiling"), [((4000, 3000), "once"), ((512, 400), "twice"), ((512, 400), "tiles")])
def test_one_pass_if_wanted_or_if_it_shows_everything(size: Size, tiling: Tiling) -> None:
    detector = KnowingDetector(size, [(200, 200, 20, 0)])

    assert find_plates(size, detector, tiling=tiling, threshold=0.3) == []
    assert [score for _, score in detector.asked] == [0.3]


def test_a_plate_that_no_crop_shows_keeps_its_box_if_it_scores_enough() -> None:
    detector = KnowingDetector((600, 600), [(595, 300, 100, 0)])  # reaches out of the picture

    (found,) = find_plates(detector.size, detector, threshold=0.3)
    assert not found.whole
    assert find_plates(detector.size, detector, threshold=THRESHOLD) == []


def test_the_crop_decides_about_a_plate_that_was_not_read() -> None:
    """The first pass was sure of a plate that the crop does not show."""

    def ask(crops: Sequence[Crop], _: float) -> list[list[Plate]]:
        return [[plate(2000, 1500, 150, score=0.9, text="")] if crop.width == 4000 else [] for crop in crops]

    assert find_plates((4000, 3000), ask, threshold=THRESHOLD) == []
    assert len(find_plates((4000, 3000), ask, threshold=THRESHOLD, crops=0)) == 1


def test_text_that_only_a_low_threshold_gives_is_left_out_as_the_server_would() -> None:
    """The server is sure of a plate and guesses its text, and no crop would show it larger."""

    def ask(crops: Sequence[Crop], score: float) -> list[list[Plate]]:
        sure = plate(1000, 700, 1200, score=0.9, text="")
        return [[plate(1000, 700, 1200, score=0.4) if score < 0.4 else sure] for _ in crops]

    (found,) = find_plates((2000, 1500), ask, threshold=THRESHOLD)
    assert (found.whole, found.score) == (False, 0.9)


def test_known_plates_are_not_requested_again() -> None:
    detector = KnowingDetector((2000, 1500), [(900, 700, 500, 0)])
    known = [plate(900, 700, 500), plate(300, 200, 600, text="")]

    assert len(find_plates(detector.size, detector, threshold=THRESHOLD, known=known)) == 2
    assert len(detector.asked) == 1


def test_a_plate_that_the_first_pass_read_stays() -> None:
    def ask(crops: Sequence[Crop], _: float) -> list[list[Plate]]:
        return [[plate(2000, 1500, 600)] if crop.width == 4000 else [] for crop in crops]

    assert len(find_plates((4000, 3000), ask, threshold=THRESHOLD)) == 1


def test_the_highest_scores_get_crops_first_and_no_more_than_allowed() -> None:
    size = 4000, 3000
    detections = [
        Detection(plate=plate(200 + 380 * index, 200 + 270 * index, 100, score=index / 20, text=""), scale=0.128)
        for index in range(10)
    ]
    crops = plan_crops(size, detections, THRESHOLD, 3)

    assert [crop.left + crop.width // 2 for crop in crops] == [200 + 380 * index for index in (9, 8, 7)]


def test_plates_close_together_share_a_crop() -> None:
    detector = KnowingDetector((4000, 3000), [(1000, 1000, 150, 0), (1000, 1060, 150, 0), (1000, 940, 140, 0)])

    assert len(find_plates(detector.size, detector, threshold=THRESHOLD)) == 3
    assert len(detector.asked) == 2


def test_tilted_plates_one_above_the_other_are_two() -> None:
    """Their boxes overlap, the plates do not."""
    both = [Detection(plate=plate(100 + 10 * row, 100 + 30 * row, 100, angle=20), scale=1) for row in (0, 1)]

    assert len(merge(both, THRESHOLD)) == 2


def test_tiles_find_plates_too_small_to_be_candidates() -> None:
    detector = KnowingDetector((8000, 6000), [(3333, 4444, 100, 0)])

    assert find_plates(detector.size, detector, threshold=THRESHOLD) == []
    (found,) = find_plates(detector.size, detector, tiling="tiles", threshold=THRESHOLD)
    assert found.whole


SIZES = st.tuples(st.integers(1, 9000), st.integers(1, 9000))


@given(size=SIZES, x=st.floats(0, 1), y=st.floats(0, 1))
@example(size=(256, 1025), x=0, y=0).via("as narrow as tiles overlap")
def test_tiles_cover_the_picture(size: Size, x: float, y: float) -> None:
    """Everything up to a quarter of the overlap lies whole in one of them."""
    crops = tiles(size)
    left, top = x * max(0, size[0] - 250), y * max(0, size[1] - 250)
    right, bottom = min(size[0], left + 250), min(size[1], top + 250)

    assert all(crop.left >= 0 and crop.top >= 0 for crop in crops)
    assert all(crop.box[2] <= size[0] and crop.box[3] <= size[1] for crop in crops)
    assert not crops or any(
        crop.box[0] <= left and crop.box[1] <= top and right <= crop.box[2] and bottom <= crop.box[3] for crop in crops
    )
    assert bool(crops) == (max(size) > 2 * PLATE_INPUT_SIDE)


@given(
    size=SIZES,
    spots=st.lists(
        st.tuples(st.floats(-0.1, 1.1), st.floats(-0.1, 1.1), st.floats(0.001, 0.5), st.floats(0, 1)), max_size=20
    ),
    most=st.integers(0, 8),
)
def test_cropslie_in_the_picture(size: Size, spots: list[tuple[float, float, float, float]], most: int) -> None:
    first = PLATE_INPUT_SIDE / max(size)
    detections = [
        Detection(plate=plate(x * size[0], y * size[1], width * size[0], score=score, text=""), scale=first)
        for x, y, width, score in spots
    ]
    crops = plan_crops(size, detections, THRESHOLD, most)

    assert len(crops) <= most
    for crop in crops:
        assert crop.left >= 0
        assert crop.top >= 0
        assert crop.box[2] <= size[0]
        assert crop.box[3] <= size[1]
        assert crop.width > 0
        assert crop.height > 0
        assert crop.scale > first


PLATES = st.builds(
    plate,
    st.floats(0, 500), st.floats(0, 500), st.floats(5, 300),
    score=st.floats(0, 1), text=st.sampled_from(["3456", ""]), angle=st.floats(-30, 30),
)  # fmt: skip
SIGHTINGS = st.lists(st.builds(Detection, plate=PLATES, scale=st.floats(0.1, 2)), max_size=12)


@given(detections=SIGHTINGS)
def test_merging_twice_is_merging_once(detections: list[Detection]) -> None:
    merged = merge(detections, THRESHOLD)

    assert merge(merged, THRESHOLD) == merged
    assert all(detection in detections for detection in merged)
    assert bool(merged) == bool(detections)


@given(detections=SIGHTINGS)
def test_a_reading_over_the_threshold_never_gives_way_to_what_is_not_read(detections: list[Detection]) -> None:
    def good(detection: Detection) -> bool:
        return detection.plate.whole and detection.plate.score >= THRESHOLD

    assert any(map(good, merge(detections, THRESHOLD))) == any(map(good, detections))


@settings(max_examples=30)
@given(
    size=st.tuples(st.integers(2000, 6000), st.integers(2000, 6000)),
    places=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0.2, 0.8), st.floats(0.2, 0.8), st.floats(-20, 20)),
        max_size=6,
        unique_by=lambda place: place[:2],
    ),
)
def test_every_plate_is_listed_once(size: Size, places: list[tuple[int, int, float, float, float]]) -> None:
    """One in each of sixteen fields at most, each large enough to be seen at all, fewer than there are crops."""
    wide = 12 * max(size) / PLATE_INPUT_SIDE
    spots = [((column + x) * size[0] / 4, (row + y) * size[1] / 4, wide, angle) for column, row, x, y, angle in places]
    found = find_plates(size, KnowingDetector(size, spots), threshold=THRESHOLD)

    assert all(plate.whole for plate in found)
    assert len(found) == len(spots)
    assert all(any(math.dist(plate.center, spot[:2]) < 0.1 for plate in found) for spot in spots)
