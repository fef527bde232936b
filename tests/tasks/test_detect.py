"""Object detection: layouts, options, parameters, positions in the sent picture, and what is refused."""

import json
import math
from typing import Any

import numpy as np
import pytest

from shardline.tasks.detect import answers, class_count, comparable, reply
from shardline.tasks.registry import task_code, task_reply
from shardline.tasks.request import Request
from shardline.wire.errors import BundleError, FrameError, RequestError, ShardlineError
from shardline.wire.view import View, placed_view

SQUARE = View(width=100, height=100)
ANIMALS = ("cat", "dog", "owl")
CAT, DOG = (10.0, 20.0, 30.0, 60.0), (50.0, 50.0, 90.0, 70.0)
SIGMOID_OF_2 = 1 / (1 + math.exp(-2))

Row = tuple[tuple[float, float, float, float], tuple[float, ...]]


def candidates(*rows: Row, dtype: str = "f4") -> dict[str, np.ndarray]:
    """Boxes [1, n, 4] and scores [1, n, classes]."""
    boxes, scores = zip(*rows, strict=True)
    return {"boxes": np.array([boxes], dtype), "scores": np.array([scores], dtype)}


def found(outputs: dict[str, np.ndarray], view: View = SQUARE, **given: Any) -> list[dict[str, Any]]:
    """The objects of a batch of one; `given` has options, and parameters as a dictionary of that name."""
    request = Request(
        outputs=outputs,
        labels=ANIMALS,
        options=given.get("options", {}),
        parameters=given.get("parameters", {}),
        views=(view,),
        input_size=(100, 200),
    )
    [prediction] = reply(request)
    objects: list[dict[str, Any]] = prediction["boxes"]
    return objects


TWO = candidates((CAT, (0.9, 0.05, 0.0)), (DOG, (0.1, 0.7, 0.2)))
TWO_CATS = candidates((CAT, (0.9, 0.0, 0.0)), ((10.0, 20.0, 30.0, 59.0), (0.8, 0.0, 0.0)))
A_CAT = {"label": "cat", "index": 0, "score": pytest.approx(0.9), "box": list(CAT)}
A_DOG = {"label": "dog", "index": 1, "score": pytest.approx(0.7), "box": list(DOG)}


class TestLayouts:
    def test_a_score_for_every_class(self) -> None:
        assert found(TWO) == [A_CAT, A_DOG]

    def test_the_order_of_both_outputs_does_not_count(self) -> None:
        assert found(dict(reversed(TWO.items()))) == [A_CAT, A_DOG]

    def test_one_class_for_each_box(self) -> None:
        outputs = {
            "boxes": np.array([[DOG, CAT]], np.float32),
            "scores": np.array([[0.7, 0.9]], np.float32),
            "classes": np.array([[1, 0]]),
        }

        assert found(outputs) == [A_CAT, A_DOG]

    @pytest.mark.parametrize("dtype", ["f2", "f8"])
    def test_any_precision(self, dtype: str) -> None:
        outputs = candidates((CAT, (0.9, 0.05, 0.0)), (DOG, (0.1, 0.7, 0.2)), dtype=dtype)

        assert [(entry["label"], entry["box"]) for entry in found(outputs)] == [("cat", list(CAT)), ("dog", list(DOG))]

    def test_yolov8(self) -> None:
        """Centre, width and height, classes along the second dimension, the likeliest class of each box alone."""
        head = np.array([[20, 40, 20, 40, 0.9, 0.6, 0], [70, 60, 40, 20, 0.1, 0.7, 0.2]], np.float32)

        assert found({"head": head.T[None]}, options={"layout": "yolov8"}) == [A_CAT, A_DOG]

    def test_yolov5(self) -> None:
        """The score is the objectness times the class's score."""
        head = np.array([[20, 40, 20, 40, 0.9, 1, 0, 0], [70, 60, 40, 20, 0.5, 0, 1, 0]], np.float32)

        objects = found({"head": head[None]}, options={"layout": "yolov5"})

        assert [(entry["label"], round(entry["score"], 3)) for entry in objects] == [("cat", 0.9), ("dog", 0.5)]

    @pytest.mark.parametrize(
        ("options", "shapes", "count"),
        [
            ({}, [("batch", 9, 4), ("batch", 9, 3)], 3),
            ({}, [("batch", 9, 3), ("batch", 9, 4)], 3),
            ({}, [("batch", 9, 4), ("batch", 9, 4)], 4),
            ({}, [("batch", 9, 4), ("batch", 9), ("batch", 9)], None),
            ({"layout": "yolov8"}, [("batch", 84, 8400)], 80),
            ({"layout": "yolov5"}, [("batch", 25200, 85)], 80),
        ],
    )
    def test_number_of_classes(self, options: dict[str, Any], shapes: list[Any], count: int | None) -> None:
        assert class_count(shapes, options) == count
        assert task_code("detect").classes(shapes, options) == count


class TestOptions:
    def test_centres_in_shares(self) -> None:
        outputs = candidates(((0.1, 0.4, 0.1, 0.4), (0.9, 0, 0)))

        [cat] = found(outputs, View(width=200, height=100), options={"boxes": "cxcywh", "unit": "share"})

        assert cat["box"] == [10, 20, 30, 60]

    def test_sigmoid(self) -> None:
        [cat] = found(candidates((CAT, (2.0, -9.0, -9.0))), options={"scores": "sigmoid"})

        assert cat["score"] == pytest.approx(SIGMOID_OF_2, abs=1e-6)

    def test_softmax_with_a_background(self) -> None:
        """The background takes its share of the probability, and is no object."""
        options = {"scores": "logits", "background": 0, "threshold": 0.1}

        objects = found(candidates((CAT, (2.0, 2.0, -90.0)), (DOG, (9.0, -9.0, -9.0))), options=options)

        assert [(entry["index"], entry["score"]) for entry in objects] == [(1, 0.5)]

    def test_a_request_s_parameters_come_before_the_bundle_s_options(self) -> None:
        options = {"threshold": 0.95}

        assert found(TWO, options=options) == []
        assert found(TWO, options=options, parameters={"threshold": 0.8}) == [A_CAT]
        assert found(TWO, options={"top": 1}) == [A_CAT]
        assert found(TWO, options={"top": 1}, parameters={"top": 2}) == [A_CAT, A_DOG]

    def test_suppression(self) -> None:
        shifted = (12.0, 20.0, 32.0, 60.0)
        outputs = candidates((CAT, (0.9, 0, 0)), (shifted, (0.8, 0, 0)), (shifted, (0, 0.7, 0)))

        assert [entry["score"] for entry in found(outputs)] == pytest.approx([0.9, 0.7], abs=1e-6)
        assert len(found(outputs, parameters={"iou": 0.9})) == 3

    @pytest.mark.parametrize(
        "options",
        [
            {"boxes": "xywh"},
            {"threshold": 2},
            {"iou": "0.5"},
            {"top": 0},
            {"top": 1001},
            {"background": -2},
            {"nms": 0.5},
            {"scores": "softmax"},
        ],
    )
    def test_wrong_options_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(BundleError, match=r"an option of the task detect is wrong .*docs/detect\.md"):
            task_code("detect").check_options(options)


class TestPositions:
    """Boxes are in pixels of the sent picture."""

    def test_letterboxed(self) -> None:
        view = placed_view((200, 100), (100, 50), (0, 25))

        [cat] = found(candidates((CAT, (0.9, 0, 0))), view)

        assert cat["box"] == [20, 0, 60, 70]  # the upper part lies in the margin

    def test_cropped(self) -> None:
        view = placed_view((300, 200), (150, 100), (-25, 0))

        [cat] = found(candidates((CAT, (0.9, 0, 0))), view)

        assert cat["box"] == [70, 40, 110, 120]

    def test_stretched(self) -> None:
        [cat] = found(candidates((CAT, (0.9, 0, 0))), placed_view((50, 400), (100, 100), (0, 0)))

        assert cat["box"] == [5, 80, 15, 240]

    def test_a_box_outside_of_the_picture_is_left_out(self) -> None:
        margin = placed_view((100, 50), (100, 50), (0, 50))

        assert found(candidates(((0, 0, 90, 40), (0.9, 0, 0))), margin) == []


class TestHostile:
    def test_many_candidates_take_bounded_work(self) -> None:
        random = np.random.default_rng(0)
        corner = random.uniform(0, 90, (1, 60_000, 2))
        boxes = np.concatenate((corner, corner + 5), axis=2).astype(np.float32)
        outputs = {"boxes": boxes, "scores": random.uniform(0.5, 1, (1, 60_000, 3)).astype(np.float32)}

        objects = found(outputs, parameters={"iou": 1, "top": 1000, "threshold": 0})

        assert len(objects) == 1000
        assert objects[-1]["score"] >= 0.9

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    @pytest.mark.parametrize("name", ["boxes", "scores"])
    def test_not_finite(self, name: str, value: float) -> None:
        outputs = {key: array.copy() for key, array in TWO.items()}
        outputs[name][0, 1, 0] = value

        with pytest.raises(ShardlineError, match="NaN or infinity for instance 0"):
            found(outputs)

    def test_logits_are_not_taken_for_probabilities(self) -> None:
        with pytest.raises(ShardlineError, match=r"reach from -3 to 7 and are no probabilities.*scores=sigmoid"):
            found(candidates((CAT, (7, -3, 0))))

    def test_shares_are_not_taken_for_pixels(self) -> None:
        with pytest.raises(ShardlineError, match=r"no box reaches beyond 0\.9 pixels .*unit=share"):
            found(candidates(((0.1, 0.2, 0.5, 0.9), (0.9, 0, 0))))

    def test_pixels_are_not_taken_for_shares(self) -> None:
        with pytest.raises(ShardlineError, match=r"reaches to 60 times the side .*unit=pixels"):
            found(TWO_CATS, options={"unit": "share"})

    def test_softmax_over_one_score_is_refused(self) -> None:
        outputs = {
            "boxes": np.array([[CAT]], np.float32),
            "scores": np.array([[9]], np.float32),
            "classes": np.array([[1]]),
        }

        with pytest.raises(BundleError, match="each box has one score"):
            found(outputs, options={"scores": "logits"})

    @pytest.mark.parametrize(
        ("options", "shapes"),
        [
            ({}, {"logits": (1, 9)}),
            ({}, {"boxes": (1, 9, 4)}),
            ({}, {"boxes": (1, 9, 4), "scores": (1, 8, 3)}),
            ({}, {"boxes": (1, 9, 4), "scores": (1, 9)}),
            ({}, {"head": (1, 84, 8400)}),
            ({"layout": "yolov8"}, {"head": (1, 4, 8400)}),
            ({"layout": "yolov5"}, {"head": (1, 8400, 5)}),
            ({"layout": "yolov8"}, {"mask": (1, 3, 8, 8)}),
        ],
    )
    def test_outputs_of_another_layout(self, options: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
        outputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

        with pytest.raises(BundleError, match=r"the model's outputs are .*; detect with the layout \w+ needs"):
            found(outputs, options=options)

    @pytest.mark.parametrize(
        "parameters",
        [{"threshold": -0.1}, {"threshold": "0.5"}, {"iou": 1.5}, {"iou": True}, {"top": 0}, {"top": 1001}, {"k": 3}],
    )
    def test_wrong_parameters(self, parameters: dict[str, Any]) -> None:
        with pytest.raises(RequestError, match="allowed"):
            found(TWO, parameters=parameters)

    def test_a_frame_without_views(self) -> None:
        with pytest.raises(FrameError, match="0 views for 1 instances"):
            reply(Request(outputs=TWO))

    def test_shares_without_the_input_s_size(self) -> None:
        with pytest.raises(BundleError, match="size of the network's input"):
            reply(Request(outputs=TWO, options={"unit": "share"}, views=(SQUARE,)))


def test_plain_json() -> None:
    objects = found(TWO)

    assert json.loads(json.dumps(objects, allow_nan=False)) == objects


def test_a_class_without_a_label() -> None:
    [entry] = found({"boxes": np.array([[CAT]], "f4"), "scores": np.ones((1, 1), "f4"), "classes": np.array([[17]])})

    assert (entry["label"], entry["index"]) == ("class 17", 17)


def test_registry() -> None:
    assert task_reply("detect") is reply


class TestComparing:
    def test_the_answer_is_the_classes_of_likely_objects(self) -> None:
        twice = {name: np.concatenate((array, array * 0)) for name, array in TWO.items()}

        assert answers(twice, {}) == [(0, 1), ()]

    def test_a_changed_order_changes_the_comparable_sums_little(self) -> None:
        random = np.random.default_rng(0)
        corner = random.uniform(0, 90, (1, 300, 2))
        outputs: dict[str, np.ndarray] = {
            "boxes": np.concatenate((corner, corner + 5), axis=2).astype(np.float32),
            "scores": random.uniform(0, 1, (1, 300)).astype(np.float32),
            "classes": random.integers(0, 200, (1, 300)),
        }
        order = random.permutation(300)
        moved = {name: array[:, order] for name, array in outputs.items()}
        moved["scores"] = moved["scores"] + np.float32(1e-6)

        one, other = comparable(outputs, {}), comparable(moved, {})

        for name, value in one.items():
            assert np.abs(other[name] - value).max() <= 1e-4 * np.abs(value).max()

    def test_another_box_or_class_changes_them(self) -> None:
        boxes = candidates(((11, 20, 30, 60), (0.9, 0.05, 0.0)), (DOG, (0.1, 0.7, 0.2)))
        classes = candidates((CAT, (0.05, 0.9, 0.0)), (DOG, (0.1, 0.7, 0.2)))

        for other in (boxes, classes):
            one, changed = comparable(TWO, {}), comparable(other, {})
            assert any(np.abs(changed[name] - one[name]).max() > 0.005 * np.abs(one[name]).max() for name in one)
