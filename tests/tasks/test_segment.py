"""Scores of pixels to masks in the sent picture: fits and turns, scales, formats, shares, limits, and hostile input."""

import base64
import io
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pycocotools import mask as coco
from services.colour_segmenter import CLASSES, MEAN, STD, by_colour, draw, encoded
from torch.nn.functional import interpolate

from shardline.predictors.picture import fit_pictures
from shardline.storage.bundle import PictureSpec
from shardline.tasks.registry import task_code
from shardline.tasks.request import Request
from shardline.tasks.segment import MASK_PIXELS, VOID, WIDE_VOID, place_labels, reply
from shardline.wire.errors import BundleError, FrameError, RequestError, ShardlineError, TooLargeError
from shardline.wire.limits import Limits
from shardline.wire.view import View

CODE = task_code("segment")
SQUARE = View(width=4, height=4)


def decoded(prediction: Any) -> np.ndarray:
    """The mask of a reply, uint [height, width]."""
    with Image.open(io.BytesIO(base64.b64decode(prediction["mask"]["b64"]))) as image:
        return np.array(image)


def answer(outputs: np.ndarray, *views: View, size: tuple[int, int] = (4, 4), **fields: Any) -> list[Any]:
    request = Request(outputs={"out": outputs}, views=views or (SQUARE,) * len(outputs), input_size=size, **fields)
    predictions = reply(request)
    assert json.loads(json.dumps(predictions, allow_nan=False)) == predictions
    return predictions


def one_hot(labels: np.ndarray, classes: int = 4) -> np.ndarray:
    """Scores float32 [1, classes, h, w] of classes [h, w]."""
    return np.asarray(np.arange(classes)[:, None, None] == labels, np.float32)[None]


def segmented(picture: bytes, spec: PictureSpec, stride: int = 1, **parameters: Any) -> Any:
    """The prediction for a picture, through the transformer's fitting, the model and the task."""
    pixels, views = fit_pictures([picture], spec, Limits())
    normalised = (torch.from_numpy(pixels) / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.inference_mode():
        scores = by_colour(stride)(normalised)["out"].numpy()
    size = (spec.height, spec.width)
    return answer(scores, *views, size=size, labels=CLASSES, parameters=parameters)[0]


def agreement(mask: np.ndarray, classes: np.ndarray) -> float:
    """Share of the pixels that have the drawn class."""
    return float(np.mean(mask == classes))


# positions


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize(("width", "height"), [(120, 80), (60, 90), (400, 300)])
def test_drawn_shapes_lie_where_they_were_sent(fit: str, orientation: int, width: int, height: int) -> None:
    """Shrunk, enlarged and turned: at least 97 % of the pixels, since borders between colours are mixed."""
    image, classes = draw(width, height)
    prediction = segmented(encoded(image, orientation), PictureSpec(height=96, width=128, fit=fit))
    mask = decoded(prediction)

    assert prediction["size"] == [height, width] == list(mask.shape)
    assert agreement(mask, classes) > 0.97
    inside = {"red": (0.2, 0.25), "green": (0.5, 0.7), "blue": (0.95, 0.05), "background": (0.05, 0.9)}
    for name, (down, across) in inside.items():
        assert CLASSES[mask[int(down * height), int(across * width)]] == name


def test_a_picture_of_the_inputs_own_size_is_exact() -> None:
    image, classes = draw(128, 96)
    prediction = segmented(encoded(image), PictureSpec(height=96, width=128, fit="stretch"))

    assert np.array_equal(decoded(prediction), classes)
    assert [entry["label"] for entry in prediction["classes"]] == ["background", "green", "blue", "red"]
    for entry in prediction["classes"]:
        assert entry["share"] == pytest.approx((classes == entry["index"]).mean(), abs=1e-6)


def test_scores_at_a_quarter_of_the_scale() -> None:
    image, classes = draw(256, 192)
    spec = PictureSpec(height=96, width=128, fit="letterbox")

    assert agreement(decoded(segmented(encoded(image), spec, stride=4)), classes) > 0.95


def test_pixels_that_a_crop_hides_have_no_class() -> None:
    image, classes = draw(200, 100)
    prediction = segmented(encoded(image), PictureSpec(height=100, width=100, fit="crop", resize=100))
    mask = decoded(prediction)

    assert (mask[:, :50] == VOID).all()
    assert (mask[:, 150:] == VOID).all()
    assert np.array_equal(mask[:, 50:150], classes[:, 50:150])
    assert sum(entry["share"] for entry in prediction["classes"]) == pytest.approx(1)
    assert {entry["index"] for entry in prediction["classes"]} == set(np.unique(classes[:, 50:150]).tolist())


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 12), st.integers(1, 12))
def test_every_pixel_has_the_class_of_the_input_pixel_below_its_centre(
    width: int, height: int, across: int, down: int
) -> None:
    labels = np.arange(across * down, dtype=np.uint8).reshape(down, across)
    view = View(width=width, height=height, across=width / across, down=height / down)
    mask = place_labels(labels, view, (down, across))

    for y in range(0, height, 7):
        for x in range(0, width, 7):
            left, top = view.to_network((x + 0.5, y + 0.5))
            if min(left % 1, top % 1, 1 - left % 1, 1 - top % 1) > 1e-6:  # on an edge, either neighbour is right
                assert mask[y, x] == labels[int(top), int(left)]


def test_interpolation_is_torchs() -> None:
    scores = np.random.default_rng(0).normal(size=(1, 5, 9, 13)).astype(np.float32)
    expected = interpolate(torch.from_numpy(scores), (36, 39), mode="bilinear", align_corners=False).argmax(1)[0]
    [prediction] = answer(scores, View(width=39, height=36), size=(36, 39))

    assert agreement(decoded(prediction), expected.numpy()) > 0.998  # two scores may differ in the last digit


@pytest.mark.parametrize(("width", "height"), [(9000, 5000), (50_000_000, 1), (1, 50_000_000), (4000, 1000)])
def test_large_pictures_get_a_smaller_mask(width: int, height: int) -> None:
    labels = np.eye(4, dtype=np.uint8)
    view = View(width=width, height=height, across=width / 4, down=height / 4)
    [prediction] = answer(one_hot(labels, 2), view)
    rows, columns = prediction["size"]

    assert rows * columns <= MASK_PIXELS
    assert rows * columns > 0.9 * min(MASK_PIXELS, width * height) or min(width, height) == 1
    assert decoded(prediction).shape == (rows, columns)
    assert prediction["classes"][1]["share"] == pytest.approx(0.25, abs=0.001) or min(width, height) == 1


def test_pixels_are_asked_for() -> None:
    [prediction] = answer(np.zeros((1, 2, 4, 4), np.float32), View(width=300, height=200), parameters={"pixels": 600})

    assert prediction["size"] == [20, 30]


# scores


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_and_ties(dtype: Any) -> None:
    scores = np.zeros((1, 3, 4, 4), dtype)
    scores[0, 2, :2], scores[0, 1, 0] = 1, 1
    [prediction] = answer(scores)

    assert decoded(prediction).tolist() == [[1] * 4, [2] * 4, [0] * 4, [0] * 4]
    assert [(entry["label"], entry["share"]) for entry in prediction["classes"]] == [
        ("class 0", 0.5),
        ("class 1", 0.25),
        ("class 2", 0.25),
    ]


@pytest.mark.parametrize(("scores", "bound"), [("logits", 0.0), ("sigmoid", 0.0), ("probabilities", 0.5)])
def test_one_channel_separates_two_classes(scores: str, bound: float) -> None:
    values = bound + np.linspace(-0.4, 0.4, 16, dtype=np.float32).reshape(1, 1, 4, 4)
    [prediction] = answer(values, labels=("road", "crack"), options={"scores": scores})

    assert decoded(prediction).ravel().tolist() == [0] * 8 + [1] * 8
    assert [entry["label"] for entry in prediction["classes"]] == ["road", "crack"]


@pytest.mark.parametrize("shape", [(2, 4, 4), (2, 1, 4, 4)])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_classes_as_integers(shape: tuple[int, ...], dtype: Any) -> None:
    classes = (np.arange(32) % 2).astype(dtype).reshape(shape)

    assert [decoded(prediction)[0].tolist() for prediction in answer(classes)] == [[0, 1, 0, 1]] * 2


@pytest.mark.parametrize(("classes", "void", "mode"), [(255, VOID, "L"), (256, WIDE_VOID, "I;16")])
def test_many_classes_take_16_bits(classes: int, void: int, mode: str) -> None:
    scores = np.zeros((1, classes, 4, 4), np.float32)
    scores[0, classes - 1] = 1
    [prediction] = answer(scores, View(width=6, height=4, left=1))

    with Image.open(io.BytesIO(base64.b64decode(prediction["mask"]["b64"]))) as image:
        assert image.mode == mode
        assert np.array(image)[0].tolist() == [void, *[classes - 1] * 4, void]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_never_nan(value: float) -> None:
    scores = np.zeros((2, 2, 4, 4), np.float32)
    scores[1, 0, 3, 3] = value

    with pytest.raises(ShardlineError, match="NaN or infinity for instance 1"):
        answer(scores)


@pytest.mark.parametrize("value", [-1, WIDE_VOID, 2**40])
def test_integers_that_are_no_classes(value: int) -> None:
    with pytest.raises(ShardlineError, match="as classes for instance 0; allowed are 0 to 65534"):
        answer(np.full((1, 4, 4), value))


@pytest.mark.parametrize("shape", [(1, 3), (1, 2, 0, 4), (1, 0, 4, 4), (1,)])
def test_outputs_of_another_kind(shape: tuple[int, ...]) -> None:
    with pytest.raises(BundleError, match="segment needs float"):
        answer(np.zeros(shape, np.float32))


def test_a_frame_without_views() -> None:
    with pytest.raises(FrameError, match="0 views for 2 instances"):
        reply(Request(outputs={"out": np.zeros((2, 2, 4, 4), np.float32)}, input_size=(4, 4)))


# formats and parameters


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside pycocotools
@settings(deadline=None, max_examples=40)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 3)))
def test_rle_and_png_hold_the_same_mask(labels: np.ndarray) -> None:
    height, width = labels.shape
    view = View(width=2 * width, height=3 * height, across=2, down=3)
    [png] = answer(one_hot(labels), view, size=labels.shape)
    [rle] = answer(one_hot(labels), view, size=labels.shape, parameters={"format": "rle"})

    assert rle["classes"] == png["classes"]
    assert rle["size"] == rle["mask"]["size"] == [3 * height, 2 * width]
    assert rle["mask"]["counts"].keys() == {str(entry["index"]) for entry in png["classes"]}
    for index, counts in rle["mask"]["counts"].items():
        mask = coco.decode({"size": rle["size"], "counts": counts.encode()})
        assert np.array_equal(mask, decoded(png) == int(index))


@pytest.mark.parametrize("form", ["png", "rle"])
def test_chosen_classes(form: str) -> None:
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4) % 4
    parameters = {"classes": ["red", 3], "format": form}
    [prediction] = answer(one_hot(labels), labels=CLASSES, parameters=parameters)

    assert [(entry["label"], entry["share"]) for entry in prediction["classes"]] == [("red", 0.5), ("blue", 0.5)]
    if form == "png":
        assert decoded(prediction)[0].tolist() == [VOID, 1, VOID, 3]
    else:
        assert prediction["mask"]["counts"].keys() == {"1", "3"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"format": "jpeg"}, "parameter format is 'jpeg'; allowed: png or rle"),
        ({"format": None}, "parameter format is 'None'"),
        ({"format": ["png"]}, "parameter format is"),
        ({"classes": "red"}, "parameter classes is 'red'; allowed: a list"),
        ({"classes": []}, "parameter classes is"),
        ({"classes": None}, "parameter classes is"),
        ({"classes": ["cat"]}, "has 'cat'; allowed: 0 to 3, or one of background, red, green, blue"),
        ({"classes": [4]}, "has '4'; allowed: 0 to 3"),
        ({"classes": [-1]}, "has '-1'"),
        ({"classes": [True]}, "has 'True'"),
        ({"classes": [1.0]}, "has '1.0'"),
        ({"classes": [[]]}, "has '..'"),
        ({"pixels": 0}, "allowed: a whole number from 1 to 4000000"),
        ({"pixels": 4_000_001}, "allowed: a whole number from 1 to 4000000"),
        ({"top": 3}, "unknown parameters top; allowed: classes, format, pixels, timings"),
    ],
)
def test_wrong_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message.replace("[", r"\[")):
        answer(np.zeros((1, 4, 4, 4), np.float32), labels=CLASSES, parameters=parameters)


@pytest.mark.parametrize("form", ["png", "rle"])
def test_a_reply_is_bounded(form: str) -> None:
    """Noise does not compress: two masks of 4 megapixels are too much."""
    noise = np.random.default_rng(0).integers(0, 200, (1, 2000, 2000), np.uint8)
    view = View(width=2000, height=2000)

    with pytest.raises(TooLargeError, match=r"the masks of 2 pictures need more than 6\.0 MiB.*below 4000000"):
        answer(np.repeat(noise, 2, axis=0), view, view, size=(2000, 2000), parameters={"format": form})


@pytest.mark.parametrize("view", [View(width=2**53, height=2**53), View(width=5, height=5, left=2.0**53, across=1e-9)])
def test_hostile_views_cost_nothing(view: View) -> None:
    [prediction] = answer(np.zeros((1, 2, 4, 4), np.float32), view)

    assert math.prod(prediction["size"]) <= MASK_PIXELS


# comparison of models


def test_answers_are_the_large_classes() -> None:
    labels = np.zeros((1, 10, 10), np.uint8)
    labels[0, :5], labels[0, 9, 9] = 2, 3

    assert CODE.answers({"out": one_hot(labels[0])}, {}) == [(0, 2)]
    assert CODE.answers({"out": labels}, {}) == [(0, 2)]
    assert CODE.answers({"out": np.zeros((1, 5), np.float32)}, {}) is None


@pytest.mark.parametrize("size", [16, 300])
def test_a_comparison_finds_one_changed_score_in_bounded_memory(size: int) -> None:
    scores = np.random.default_rng(0).normal(size=(2, 3, size, size)).astype(np.float32)
    changed = scores.copy()
    changed[1, 2, 5, 7] += 100
    before, after = CODE.comparable({"out": scores}, {}), CODE.comparable({"out": changed}, {})

    assert all(value.shape[2] <= 128 and value.shape[3] <= 128 for value in before.values())
    assert max(float(np.abs(after[name] - before[name]).max()) for name in before) > 90


def test_integers_are_compared_by_shares() -> None:
    found = CODE.comparable({"out": np.zeros((1, 4, 4), np.int64)}, {})

    assert found["shares"][0, :2].tolist() == [1, 0]


def test_class_count_by_shapes() -> None:
    assert CODE.classes([("batch", 5), ("batch", 21, 8, 8)], {}) == 21
    assert CODE.classes([("batch", 1, 8, 8)], {}) == 2
    assert CODE.classes([("batch", 8, 8)], {}) is None


def test_options() -> None:
    CODE.check_options({})
    CODE.check_options({"scores": "probabilities"})
    for options in ({"scores": "odds"}, {"threshold": 0.5}):
        with pytest.raises(BundleError, match="allowed: scores, logits or sigmoid or probabilities"):
            CODE.check_options(options)
