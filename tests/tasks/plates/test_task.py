"""Plates from the detector's outputs: texts, missing groups, positions, scores and refused outputs."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services.plate_detections import NAMES, SIDE, SQUARE, PlaneDetection, PlanePlate, outputs, texts, turn

from shardline.tasks.plates.detections import comparable
from shardline.tasks.plates.grammar import built_in
from shardline.tasks.plates.task import answers, read_plates, reply
from shardline.tasks.plates.text import parse_text, random_text
from shardline.tasks.registry import task_code, task_reply
from shardline.tasks.request import Request
from shardline.wire.errors import BundleError, FrameError, RequestError, ShardlineError
from shardline.wire.view import View, placed_view

KINDS = [plate_type.name for plate_type in built_in().types]

TEXT = parse_text("12A 3456")
LONG = PlanePlate(kind="long", text=TEXT)
REGULAR = PlanePlate(kind="regular", text=TEXT, width=120, aspect=1.6)
EACH = pytest.mark.parametrize("plate", [LONG, REGULAR], ids=["long", "regular"])

seeds = st.integers(0, 2**32 - 1)


@st.composite
def plane_plates(draw: st.DrawFn) -> PlanePlate:
    kind: str = draw(st.sampled_from(KINDS))
    return PlanePlate(
        kind=kind,
        text=random_text(np.random.default_rng(draw(seeds))),
        centre=(draw(st.floats(150, 362)), draw(st.floats(150, 362))),
        width=draw(st.floats(60, 290)) * (1 if kind == "long" else 0.6),
        aspect=draw(st.floats(3.4, 5.6)) if kind == "long" else draw(st.floats(1.2, 2.2)),
        angle=draw(st.floats(-45, 45)),
        score=draw(st.floats(0.75, 1.0)),
    )


def read(detections: list[PlaneDetection], threshold: float = 0.7, view: View = SQUARE) -> list[dict[str, Any]]:
    return read_plates(outputs(detections), view, threshold)


def reported(prediction: dict[str, Any]) -> tuple[Any, ...]:
    return prediction["type"], prediction["sub_text"], prediction["main_text"], prediction.get("missing", [])


def whole(plate: PlanePlate) -> tuple[Any, ...]:
    return plate.kind, plate.text.groups[0], plate.text.groups[1], []


def jittered(detections: list[PlaneDetection], random: np.random.Generator, share: float) -> list[PlaneDetection]:
    """Boxes moved, and made larger or smaller, by about this share of their size."""
    moved = []
    for detection in detections:
        box = np.array(detection.box)
        by = random.normal(0, share * math.sqrt(np.prod(box[2:] - box[:2])), 4)
        moved.append(replace(detection, box=tuple((box + by).tolist()), angle=detection.angle + random.normal(0, 1.5)))
    return moved


class TestReading:
    @settings(deadline=None)
    @given(plane_plates())
    def test_the_text_is_read(self, plate: PlanePlate) -> None:
        [found] = read(plate.detections())

        assert reported(found) == whole(plate)
        assert found["score"] == pytest.approx(plate.score, abs=1e-4)

    @settings(deadline=None)
    @given(plane_plates(), seeds)
    def test_slightly_wrong_boxes_change_no_text(self, plate: PlanePlate, seed: int) -> None:
        [found] = read(jittered(plate.detections(), np.random.default_rng(seed), 0.02))

        assert reported(found) == whole(plate)

    @settings(deadline=None)
    @given(plane_plates(), seeds)
    def test_the_order_of_detections_does_not_matter(self, plate: PlanePlate, seed: int) -> None:
        random = np.random.default_rng(seed)
        arrays = outputs(jittered(plate.detections(), random, 0.02))
        orders = {name: random.permutation(array.shape[1]) for name, array in arrays.items()}
        for name in NAMES:  # boxes, scores and directions of one detection stay together
            orders[name] = orders[f"{name.partition('_')[0]}_boxes"]

        shuffled = {name: array[:, orders[name]] for name, array in arrays.items()}

        assert read_plates(shuffled, SQUARE) == read_plates(arrays, SQUARE)

    @settings(deadline=None)
    @given(plane_plates(), seeds, st.sets(st.integers(1, 2)))
    def test_false_detections_and_missed_groups_change_no_text(
        self, plate: PlanePlate, seed: int, missed: set[int]
    ) -> None:
        random = np.random.default_rng(seed)
        detections = [detection for index, detection in enumerate(plate.detections()) if index not in missed]
        for label in [*"0123456789", "a", "e", "r_s_n", "l_m_n", "l_board", "r_board"]:
            centre, half = random.uniform(0, SIDE, 2), random.uniform(4, 60, 2)
            box = (*(centre - half).tolist(), *(centre + half).tolist())
            detections.append(PlaneDetection(label=label, box=box, score=float(random.uniform(0.01, 0.12))))

        assert reported(read(detections)[0]) == whole(plate)

    @settings(deadline=None)
    @given(plane_plates(), st.integers(3, 9))
    def test_the_group_of_a_missed_character_is_reported_missing(self, plate: PlanePlate, place: int) -> None:
        detections = plate.detections()
        del detections[place]

        [found] = read(detections)

        small_is_whole = place > 5
        assert reported(found)[1:] == (
            (plate.text.groups[0], None, ["main_text"])
            if small_is_whole
            else (None, plate.text.groups[1], ["sub_text"])
        )
        assert found["type"] == plate.kind

    @EACH
    def test_a_board_without_characters_has_a_low_score(self, plate: PlanePlate) -> None:
        assert read(plate.detections()[:1]) == []

        [found] = read(plate.detections()[:1], threshold=0.4)

        assert reported(found) == (plate.kind, None, None, ["sub_text", "main_text"])
        assert found["box"] == pytest.approx(plate.detections()[0].box, abs=0.06)

    @EACH
    def test_a_board_with_some_characters_is_reported_without_text(self, plate: PlanePlate) -> None:
        """Its board, no groups, and without the second and the fifth of its characters."""
        detections = plate.detections()
        characters = [detection for detection in detections if len(detection.label) == 1]

        [found] = read([detections[0], *(character for at, character in enumerate(characters) if at not in (1, 4))])

        assert reported(found) == (plate.kind, None, None, ["sub_text", "main_text"])

    @EACH
    def test_duplicate_detections_give_one_plate(self, plate: PlanePlate) -> None:
        twice = []
        for detection in plate.detections():
            box = np.add(detection.box, (1.5, 1, 1.5, 1))
            twice += [detection, replace(detection, box=tuple(box.tolist()), score=0.85)]

        assert [reported(found) for found in read(twice)] == [whole(plate)]

    @EACH
    def test_only_a_letter_stands_third_and_only_digits_elsewhere(self, plate: PlanePlate) -> None:
        """The detector takes the B for an 8 and the 8 for a B: the allowed one with the higher score is read."""
        plate = replace(plate, text=parse_text("18B 8888"))
        detections = plate.detections()
        detections[4] = replace(detections[4], label="b", score=0.9, others=(("8", 0.6),))
        detections[5] = replace(detections[5], label="8", score=0.9, others=(("b", 0.7),))

        assert reported(read(detections)[0]) == whole(plate)

    @pytest.mark.parametrize("angle", [-40, -15, 0, 15, 40])
    def test_plates_side_by_side_and_one_above_the_other(self, angle: float) -> None:
        texts = ["11A 1111", "22B 2222", "33C 3333", "44D 4444"]
        positions = turn(np.array(((-50, -30), (50, -30), (-50, 30), (50, 30)), float), angle) + 256
        plates = [
            PlanePlate(kind="long", text=parse_text(text), centre=(x, y), width=90, angle=angle)
            for text, (x, y) in zip(texts, positions.tolist(), strict=True)
        ]
        found = read([detection for plate in plates for detection in plate.detections()])

        assert sorted(reported(plate) for plate in found) == sorted(whole(plate) for plate in plates)

    def test_a_small_plate_below_a_large_one_keeps_its_characters_to_itself(self) -> None:
        """A small plate hangs on a large plate's frame, with as many digits of the same scores."""
        large = replace(REGULAR, width=300)
        small = PlanePlate(kind="long", text=parse_text("78B 9012"), centre=(300, 256 + 0.57 * large.height), width=40)

        found = read([*small.detections(), *large.detections()])

        assert sorted(reported(plate) for plate in found) == sorted((whole(large), whole(small)))

    def test_characters_of_small_plates_leave_the_large_one_its_own(self) -> None:
        """Plates that overlap at the corners, with more characters than one plate can take."""
        large = replace(REGULAR, width=300, score=0.8)
        corners = [(256 + x * 0.46 * large.width, 256 + y * 0.46 * large.height) for x in (-1, 1) for y in (-1, 1)]
        small = [
            replace(LONG, text=parse_text(f"7{at}B 9012"), centre=place, width=36) for at, place in enumerate(corners)
        ]

        found = read([detection for plate in (*small, large) for detection in plate.detections()])

        assert sorted(reported(plate) for plate in found) == sorted(whole(plate) for plate in (*small, large))

    @EACH
    def test_characters_and_groups_decide_the_kind_of_a_doubtful_board(self, plate: PlanePlate) -> None:
        detections = plate.detections()
        other = "r_board" if plate.kind == "long" else "l_board"
        detections[0] = replace(detections[0], label=other, score=0.8, others=((plate_label(plate), 0.75),))

        assert reported(read(detections)[0]) == whole(plate)

    def test_a_part_of_a_board_is_no_other_plate(self) -> None:
        """The lower row of a regular plate looks like a long one."""
        detections = REGULAR.detections()
        main = detections[2].box
        around = (main[0] - 4, main[1] - 4, main[2] + 4, main[3] + 4)

        assert [
            reported(plate) for plate in read([*detections, PlaneDetection(label="l_board", box=around, score=0.95)])
        ] == [whole(REGULAR)]

    def test_a_detection_above_the_row_is_not_read(self) -> None:
        """A bolt is taken for a zero, between two digits of which one was not found."""
        detections = LONG.detections()
        left, top, right, _ = detections[8].box
        del detections[8]
        bolt = PlaneDetection(label="0", box=(left + 2, top - 8, right - 2, top - 2), score=0.8)

        assert reported(read([*detections, bolt])[0]) == ("long", "12A", None, ["main_text"])

    def test_a_picture_without_anything(self) -> None:
        assert read([]) == []

    def test_hundreds_of_false_detections_with_high_scores_give_a_reply(self) -> None:
        random = np.random.default_rng(0)
        detections = []
        for label in [*["l_board", "r_board"] * 8, *["r_s_n", "l_m_n"] * 16, *"0123456789abcde" * 9]:
            centre, half = random.uniform(0, SIDE, 2), random.uniform(2, 200, 2)
            detections.append(
                PlaneDetection(label=label, box=(*(centre - half).tolist(), *(centre + half).tolist()), score=0.99)
            )

        json.dumps(read(detections, 0.01), allow_nan=False)


def plate_label(plate: PlanePlate) -> str:
    return plate.detections()[0].label


class TestScore:
    @EACH
    def test_is_the_geometric_mean_of_the_eight_scores(self, plate: PlanePlate) -> None:
        detections = plate.detections()
        detections[5] = replace(detections[5], score=0.3)

        [found] = read(detections)

        assert reported(found) == whole(plate)
        assert found["score"] == pytest.approx(math.exp((7 * math.log(0.9) + math.log(0.3)) / 8), abs=1e-4)

    @EACH
    def test_a_group_of_low_scores_is_missing(self, plate: PlanePlate) -> None:
        detections = plate.detections()
        detections[8:] = [replace(detection, score=0.2) for detection in detections[8:]]

        assert reported(read(detections)[0]) == (plate.kind, plate.text.groups[0], None, ["main_text"])
        assert reported(read(detections, 0.3)[0]) == whole(plate)

    @EACH
    def test_one_missed_character_does_not_lower_the_score(self, plate: PlanePlate) -> None:
        detections = plate.detections()
        del detections[8]

        [found] = read(detections)

        assert reported(found) == (plate.kind, plate.text.groups[0], None, ["main_text"])
        assert found["score"] == pytest.approx(0.9, abs=1e-4)

    @EACH
    @pytest.mark.parametrize("there", [range(3, 6), range(6, 10)])
    def test_a_board_with_one_group_alone_has_a_low_score(self, plate: PlanePlate, there: range) -> None:
        detections = plate.detections()
        detections = [*detections[:1], *(detections[index] for index in there)]

        [found] = read(detections, 0.3)

        assert read(detections) == []
        assert len(found["missing"]) == 1

    @EACH
    def test_suspects_are_listed_at_a_low_threshold_only(self, plate: PlanePlate) -> None:
        [board, *_] = plate.detections()
        suspect = [replace(board, score=0.06)]

        assert read(suspect) == []
        [found] = read(suspect, 0.05)
        assert (found["score"], found["missing"]) == (0.06, ["sub_text", "main_text"])

    def test_the_highest_score_comes_first(self) -> None:
        plates = [replace(LONG, centre=(256, y), score=score) for y, score in ((100, 0.8), (250, 0.95), (400, 0.85))]

        found = read([detection for plate in plates for detection in plate.detections()])

        assert [round(plate["score"], 2) for plate in found] == [0.95, 0.85, 0.8]

    @settings(deadline=None)
    @given(plane_plates(), st.floats(0.05, 1), st.floats(0.05, 1), seeds)
    def test_a_lower_threshold_reports_no_less(self, plate: PlanePlate, first: float, second: float, seed: int) -> None:
        random = np.random.default_rng(seed)
        detections = [replace(detection, score=float(random.uniform(0.2, 1))) for detection in plate.detections()]
        low, high = (read(detections, threshold) for threshold in sorted((first, second)))

        assert len(low) >= len(high)
        assert all(plate["score"] >= max(first, second) - 1e-4 for plate in high)
        if high:
            assert len(low[0].get("missing", [])) <= len(high[0].get("missing", []))


class TestCandidates:
    @settings(deadline=None)
    @given(plane_plates(), seeds)
    def test_probabilities_and_character_scores(self, plate: PlanePlate, seed: int) -> None:
        random = np.random.default_rng(seed)
        others = tuple((label, float(random.uniform(0, 0.4))) for label in "038b")
        detections = [
            replace(detection, others=others if len(detection.label) == 1 else ()) for detection in plate.detections()
        ]

        for found in read(detections, 0.3):
            probabilities = [candidate["probability"] for candidate in found["candidates"]]
            assert len(probabilities) == 3
            assert probabilities == sorted(probabilities, reverse=True)
            assert 0 <= min(probabilities) <= sum(probabilities) <= 1.0002
            assert all(0 <= character["score"] <= 1 for character in found["characters"])
            text = (found["sub_text"] or "") + (found["main_text"] or "")
            assert "".join(character["character"] for character in found["characters"]) == text
            if len(text) == 7:
                first = found["candidates"][0]
                assert (first["sub_text"], first["main_text"]) == (found["sub_text"], found["main_text"])

    @EACH
    def test_a_group_that_is_not_reported_has_candidates_and_no_characters(self, plate: PlanePlate) -> None:
        detections = plate.detections()
        del detections[8]

        [found] = read(detections)

        assert "".join(character["character"] for character in found["characters"]) == plate.text.groups[0]
        assert {candidate["sub_text"] for candidate in found["candidates"]} == {plate.text.groups[0]}
        assert all(len(candidate["main_text"]) == 4 for candidate in found["candidates"])

    @EACH
    def test_a_group_with_a_very_faint_character_is_not_reported(self, plate: PlanePlate) -> None:
        detections = plate.detections()
        detections[5] = replace(detections[5], score=0.25)

        assert read(detections)[0]["sub_text"] is None
        assert read(detections, 0.6)[0]["sub_text"] == plate.text.groups[0]


class TestPositions:
    @settings(deadline=None)
    @given(plane_plates())
    def test_width_height_and_corners_follow_the_plate_s_direction(self, plate: PlanePlate) -> None:
        [found] = read(plate.detections())
        halves = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1))) * (plate.width / 2, plate.height / 2)
        quad = turn(halves, plate.angle) + plate.centre
        # near 45° a box hardly determines width and height, and a usual aspect ratio is taken
        off = plate.width * (0.02 if abs(plate.angle) < 20 else 0.2)

        assert found["board_center_p"] == pytest.approx(plate.centre, abs=0.1)
        assert found["angle"] == pytest.approx(plate.angle, abs=0.1)
        assert found["width"] == pytest.approx(plate.width, abs=off)
        assert found["height"] == pytest.approx(plate.height, abs=off)
        assert np.array(found["quad"]) == pytest.approx(quad, abs=off)
        assert found["box"] == pytest.approx(np.clip(plate.detections()[0].box, 0, SIDE), abs=0.06)

    @pytest.mark.parametrize("angle", [0.0, 30.0])
    def test_all_is_in_pixels_of_the_picture_that_was_sent(self, angle: float) -> None:
        """4000 x 3000 pixels, letterboxed into 512 x 512 with 64 rows of grey above and below."""
        view = placed_view((4000, 3000), (512, 384), (0, 64))
        plate = replace(LONG, angle=angle)

        [small], [large] = read(plate.detections()), read(plate.detections(), view=view)

        scale = 4000 / 512
        assert large["board_center_p"] == pytest.approx((256 * scale, (256 - 64) * scale), abs=0.1)
        assert large["width"] == pytest.approx(small["width"] * scale, abs=1)
        assert large["height"] == pytest.approx(small["height"] * scale, abs=1)
        assert large["angle"] == pytest.approx(angle, abs=0.1)
        assert reported(large) == reported(small)

    def test_directions_are_those_in_the_stretched_picture(self) -> None:
        view = placed_view((1024, 512), (512, 512), (0, 0))
        [found] = read(replace(LONG, angle=30.0).detections(), view=view)

        assert found["angle"] == pytest.approx(
            math.degrees(math.atan2(math.sin(math.pi / 6), 2 * math.cos(math.pi / 6))), abs=0.1
        )

    def test_a_box_ends_where_the_picture_ends(self) -> None:
        plate = replace(LONG, centre=(60.0, 256.0))

        [found] = read(plate.detections())

        assert found["box"][0] == 0
        assert found["quad"][0][0] == pytest.approx(-40, abs=1)

    def test_a_plate_in_the_margin_of_a_letterbox_is_left_out(self) -> None:
        view = placed_view((4000, 1000), (512, 128), (0, 192))

        assert read(replace(LONG, centre=(256.0, 60.0)).detections(), view=view) == []

    def test_a_board_without_a_direction_counts_as_upright(self) -> None:
        arrays = outputs(LONG.detections())
        arrays["board_turns"][:] = 0

        [found] = read_plates(arrays, SQUARE)

        assert (found["angle"], reported(found)) == (0, whole(LONG))


class TestTexts:
    """A detector may also read each whole plate."""

    @settings(deadline=None)
    @given(plane_plates())
    def test_both_agree(self, plate: PlanePlate) -> None:
        [found] = read_with_text(plate.detections(), plate.text.groups[0] + plate.text.groups[1])

        assert reported(found) == whole(plate)
        assert found["score"] >= plate.score - 0.02

    @EACH
    @pytest.mark.parametrize("place", range(3, 10))
    def test_it_fills_the_position_of_a_missed_character(self, plate: PlanePlate, place: int) -> None:
        detections = plate.detections()
        del detections[place]

        [found] = read_with_text(detections, "12A3456")

        assert reported(found) == whole(plate)
        assert 0.7 <= found["score"] < read_with_text(plate.detections(), "12A3456")[0]["score"]

    @EACH
    def test_it_outweighs_a_doubtful_character_and_not_a_certain_one(self, plate: PlanePlate) -> None:
        doubtful = [
            replace(character, score=0.5) if character.label == "3" else character for character in plate.detections()
        ]

        assert read_with_text(doubtful, "12A7456")[0]["main_text"] == "7456"
        assert (
            read_with_text(replace(plate, score=0.99).detections(), "12A7456", confidence=0.5)[0]["main_text"] == "3456"
        )

    @EACH
    def test_a_disagreement_lowers_the_score(self, plate: PlanePlate) -> None:
        [same], [other] = (read_with_text(plate.detections(), text) for text in ("12A3456", "12A3457"))

        assert other["score"] < same["score"] - 0.03

    def test_a_character_too_many_is_left_out(self) -> None:
        detections = LONG.detections()
        left, top, right, bottom = detections[-1].box
        shift = 0.55 * (right - left)
        detections.append(
            replace(detections[-1], label="9", box=(left - shift, top, right - shift, bottom), score=0.85)
        )

        assert reported(read_with_text(detections, "12A3456")[0]) == whole(LONG)

    @EACH
    def test_where_it_reads_nothing_characters_are_doubtful(self, plate: PlanePlate) -> None:
        assert read_with_text(plate.detections(), "_______") == []

    def test_without_a_single_character_a_text_is_not_enough(self) -> None:
        [board, *_] = LONG.detections()

        assert all(found["sub_text"] is None for found in read_with_text([board], "12A3456"))

    def test_each_board_has_its_own(self) -> None:
        one, other = replace(LONG, score=0.95), replace(REGULAR, centre=(256.0, 420.0), text=parse_text("98B 7654"))
        arrays = outputs([*one.detections()[:-1], *other.detections()[:-1]]) | {
            "board_texts": texts("12A3456", "98B7654")
        }

        found = [reported(plate) for plate in read_plates(arrays, SQUARE)]

        assert found == [whole(one), whole(other)]

    def test_it_is_part_of_what_is_compared(self) -> None:
        arrays = outputs(LONG.detections())
        one, other = (comparable(arrays | {"board_texts": texts(text)}, {}) for text in ("12A3456", "12A3457"))

        assert one.keys() > comparable(arrays, {}).keys()
        assert any(not np.allclose(one[name], other[name]) for name in one)


def read_with_text(detections: list[PlaneDetection], text: str, *, confidence: float = 0.98) -> list[dict[str, Any]]:
    return read_plates(outputs(detections) | {"board_texts": texts(text, confidence=confidence)}, SQUARE)


def request(*pictures: list[PlaneDetection], **changes: Any) -> Request:
    return Request(**{"outputs": outputs(*pictures), "views": (SQUARE,) * len(pictures), **changes})


class TestReply:
    def test_one_list_an_instance_as_plain_json(self) -> None:
        predictions = reply(request(LONG.detections(), [], REGULAR.detections()))

        assert json.loads(json.dumps(predictions, allow_nan=False)) == predictions
        assert [[reported(plate) for plate in prediction] for prediction in predictions] == [
            [whole(LONG)],
            [],
            [whole(REGULAR)],
        ]
        assert list(predictions[0][0]) == [
            "type", "board_center_p", "width", "height", "angle", "sub_text", "main_text", "score", "box", "quad",
            "candidates", "characters",
        ]  # fmt: skip

    def test_each_instance_has_its_own_view(self) -> None:
        views = (SQUARE, placed_view((1024, 1024), (512, 512), (0, 0)))

        one, other = reply(request(LONG.detections(), LONG.detections(), views=views))

        assert other[0]["board_center_p"] == [2 * value for value in one[0]["board_center_p"]]

    def test_the_threshold_is_a_parameter(self) -> None:
        detections = replace(LONG, score=0.4).detections()

        assert reply(request(detections)) == [[]]
        assert len(reply(request(detections, parameters={"threshold": 0.3}))[0]) == 1
        assert len(reply(request(replace(LONG, score=1.0).detections(), parameters={"threshold": 1}))[0]) == 1

    @pytest.mark.parametrize("threshold", [0, -0.1, 1.01, True, "0.5", None, [0.5]])
    def test_a_bad_threshold(self, threshold: object) -> None:
        with pytest.raises(RequestError, match=r"threshold is .*; allowed: a number over 0, up to 1"):
            reply(request([], parameters={"threshold": threshold}))

    def test_an_unknown_parameter(self) -> None:
        with pytest.raises(RequestError, match="unknown parameters top; allowed: threshold, timings"):
            reply(request([], parameters={"top": 3}))

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_a_view_for_each_instance(self, count: int) -> None:
        with pytest.raises(FrameError, match=f"{count} views for 2 instances; .*transformer"):
            reply(request([], [], views=(SQUARE,) * count))

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_nan_and_infinity_are_refused(self, name: str, value: float) -> None:
        asked = request([], LONG.detections())
        asked.outputs[name][1, 0, 0] = value

        with pytest.raises(ShardlineError, match="NaN or infinity for instance 1"):
            reply(asked)

    @pytest.mark.parametrize(
        "wrong",
        [
            {},
            {"logits": np.zeros((1, 10), np.float32)},
            dict(list(outputs([]).items())[:6]),
            {**outputs([]), "board_turns": np.zeros((1, 15, 2), np.float32)},
            {**outputs([]), "character_scores": np.zeros((1, 128, 14), np.float32)},
            {**outputs([]), "group_boxes": np.zeros((1, 32, 4), np.int64)},
            {**outputs([]), "board_texts": np.zeros((1, 16, 7, 15), np.float32)},
            {**outputs([]), "board_texts": np.zeros((1, 15, 7, 16), np.float32)},
            {**outputs([]), "board_texts": texts(), "more": texts()},
        ],
    )
    def test_outputs_of_another_model_are_refused(self, wrong: dict[str, np.ndarray]) -> None:
        with pytest.raises(BundleError, match="plates needs the seven"):
            reply(Request(outputs=wrong, views=(SQUARE,)))

    def test_registry(self) -> None:
        assert task_reply("plates") is reply
        assert task_code("plates").labels is not None


class TestComparing:
    def test_the_answer_is_what_is_read(self) -> None:
        two = [*LONG.detections(), *replace(REGULAR, centre=(256.0, 420.0)).detections()]

        assert answers(outputs(two, []), {}) == [(("long", "12A", "3456"), ("regular", "12A", "3456")), ()]

    @settings(deadline=None)
    @given(plane_plates(), seeds)
    def test_rounding_changes_the_comparable_sums_little_though_detections_change_order(
        self, plate: PlanePlate, seed: int
    ) -> None:
        """More detections than are listed, many of them with nearly equal scores."""
        random = np.random.default_rng(seed)
        detections = plate.detections()
        for label in "0123456789abcde" * 12:
            centre, half = random.uniform(20, SIDE, 2), random.uniform(4, 20, 2)
            box = (*(centre - half).tolist(), *(centre + half).tolist())
            detections.append(PlaneDetection(label=label, box=box, score=0.2 + float(random.uniform(0, 1e-4))))
        moved = [
            replace(detection, score=detection.score + float(random.uniform(-1e-4, 1e-4))) for detection in detections
        ]

        one, other = comparable(outputs(detections), {}), comparable(outputs(moved), {})

        assert one.keys() == other.keys()
        for name, value in one.items():
            assert np.abs(other[name] - value).max() <= 1e-2 * np.abs(value).max()

    def test_another_plate_changes_the_comparable_sums(self) -> None:
        one, other = (comparable(outputs(plate.detections()), {}) for plate in (LONG, REGULAR))

        assert any(np.abs(one[name] - other[name]).max() > 0.01 * np.abs(one[name]).max() for name in one)
