"""Classifiers whose answers are known, on pictures that need not be looked at."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardline.training.evaluation.classifier.evaluate import Report, evaluate
from shardline.training.evaluation.classifier.plots import drawings
from shardline.training.evaluation.classifier.sample import Sample, read_pictures
from shardline.training.evaluation.classifier.sources import Seen, classes_of, read_prediction
from shardline.training.evaluation.plots import draw_all
from shardline.training.evaluation.worst import Tile
from shardline.wire.errors import ModelError, PictureError

ANIMALS = ("ant", "bee", "cat", "dog", "eel", "fly")


def png(shade: int) -> bytes:
    with io.BytesIO() as buffer:
        Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, "PNG")
        return buffer.getvalue()


@dataclass(frozen=True)
class Few:
    """Pictures of these labels, one after the other; a picture's shade is its number."""

    labels: tuple[str, ...]
    shown: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.shown)

    def __iter__(self) -> Iterator[Sample]:
        for number, label in enumerate(self.shown):
            yield Sample(name=f"{number}.png", picture=png(number), label=label)


@dataclass(frozen=True)
class Saying:
    """Gives the scores that `says` has for a picture's number."""

    says: Callable[[int], Sequence[float]]
    labels: tuple[str, ...] = ANIMALS
    name: str = "it"
    outputs: bool = False
    seen: list[int] = field(default_factory=list)

    def look(self, picture: bytes) -> Seen:
        with Image.open(io.BytesIO(picture)) as opened:
            number = opened.getpixel((0, 0))[0]  # type: ignore[index]
        self.seen.append(number)
        scores = np.array(self.says(number), np.float64)
        order = np.argsort(-scores, kind="stable")
        return Seen(
            labels=self.labels, scores=scores, order=order, outputs={"logits": scores} if self.outputs else None
        )


def sure_of(place: int, score: float = 0.5) -> list[float]:
    rest = (1 - score) / (len(ANIMALS) - 1)
    return [score if each == place else rest for each in range(len(ANIMALS))]


FEW = Few(labels=("ant", "bee", "cat"), shown=(0, 0, 0, 0, 1, 1, 2))
# an ant is taken for a dog, which none of the pictures shows, a bee for an ant
ANSWERS = (0, 0, 0, 3, 1, 0, 2)


def knowing(number: int) -> list[float]:
    return sure_of(ANSWERS[number], 0.5 + number / 100)


def report_of(*sources: Saying, samples: Few = FEW) -> tuple[Report, list[Tile]]:
    return evaluate(samples, sources)


def test_what_is_counted() -> None:
    counted: list[None] = []
    report, mistakes = evaluate(FEW, [Saying(knowing)], on_picture=lambda: counted.append(None))
    side = report.sides[0]

    assert len(counted) == report.pictures == 7
    assert (side.top1.right, side.top1.count) == (5, 7)
    # of equal scores the first classes come first: the ant taken for a dog is second, the bee taken for an ant too
    assert side.top5 is not None
    assert side.top5.right == 7
    assert side.confusion == ((3, 0, 0, 1), (1, 1, 0, 0), (0, 0, 1, 0))
    ant, bee, cat = side.classes
    assert (ant.precision.right, ant.precision.count, ant.recall.count) == (3, 4, 4)
    assert (bee.precision.share, bee.recall.share, bee.f1.value) == (1, 0.5, pytest.approx(2 / 3))
    assert cat.f1.value == 1
    assert cat.curves is not None
    assert cat.curves.roc_auc == 1
    assert side.calibration.count == 7
    assert [each.title.splitlines()[:2] for each in mistakes] == [
        ["bee: 0.09", "→ ant: 0.55"],
        ["ant: 0.09", "→ dog: 0.53"],
    ]


def test_scores_as_sure_as_they_are_right() -> None:
    """Half of what has a score of 0.5 is right: nothing is amiss."""
    samples = Few(labels=("ant", "bee"), shown=(0, 0, 1, 1))
    report, _ = report_of(Saying(lambda number: sure_of(number % 2, 0.5)), samples=samples)

    assert report.sides[0].top1.share == 0.5
    assert report.sides[0].calibration.error == 0


def test_five_classes_have_no_top_5() -> None:
    labels = ANIMALS[:5]
    side = report_of(Saying(lambda number: sure_of(ANSWERS[number])[:5], labels=labels))[0].sides[0]

    assert side.top5 is None


def test_pictures_of_one_class() -> None:
    side = report_of(Saying(lambda _: sure_of(0)), samples=Few(labels=("ant",), shown=(0, 0)))[0].sides[0]

    assert side.top1.share == 1
    assert (side.average_precision, side.roc_auc, side.classes[0].curves) == (None, None, None)


def test_side_by_side() -> None:
    def nudged(number: int) -> list[float]:
        return sure_of(2) if number == 0 else [score + (number == 1) / 8 for score in knowing(number)]

    turned = Saying(lambda number: knowing(number)[::-1], labels=ANIMALS[::-1], name="turned")
    report, _ = report_of(
        Saying(knowing, outputs=True), Saying(knowing, outputs=True, name="same"), Saying(nudged, name="other"), turned
    )
    same, other, by_label = report.differences

    assert (same.equal, same.max_abs_difference, same.same, same.others) == (7, 0, 7, ())
    assert (other.equal, other.same, other.others) == (5, 6, ("0.png",))
    assert other.max_abs_difference == pytest.approx(0.4)
    assert by_label.same == 7  # which class is meant, its label says
    assert report.sides[3].confusion == report.sides[0].confusion


def test_the_report_is_json_in_words_of_pictures() -> None:
    report, _ = report_of(Saying(knowing), Saying(knowing, name="again"))
    document = json.loads(json.dumps(report.to_dict()))

    assert document["labels"] == ["ant", "bee", "cat"]
    assert document["sides"][0]["top1"]["pictures"] == 7
    assert document["differences"][0]["same_class"] == 7
    assert len(document["grid"]) == len(document["sides"][0]["classes"][0]["curves"]["roc"])


@pytest.mark.parametrize("classes", [2, 50])
def test_few_classes_and_many_are_drawn(classes: int, tmp_path: Path) -> None:
    labels = tuple(f"class {place}" for place in range(classes))
    samples = Few(labels=labels, shown=tuple(range(classes)))
    source = Saying(lambda number: np.eye(classes)[number // 2].tolist(), labels=labels)
    report, mistakes = report_of(source, samples=samples)
    drawn = drawings(report, mistakes)

    assert {path.name for path in draw_all(drawn, tmp_path)} == {
        "calibration.png", "classes.png", "confusion.png", "curves.png", "mistakes.png",
    }  # fmt: skip
    assert all(each.alt.endswith(".") for each in drawn)


def test_labels_are_found_by_name_and_by_number() -> None:
    assert classes_of(["cat", "ant"], ANIMALS).tolist() == [2, 0]
    assert classes_of(["0", "05"], ANIMALS).tolist() == [0, 5]
    assert classes_of(["1", "0"], ("0", "1")).tolist() == [1, 0]
    with pytest.raises(ModelError, match="'cow' is called as none of the model's classes: allowed are ant, bee"):
        classes_of(["cow"], ANIMALS)
    with pytest.raises(ModelError, match="'6' is called as none"):
        classes_of(["6"], ANIMALS)
    with pytest.raises(ModelError, match="2 of the model's classes are called 'crane'"):
        classes_of(["crane"], ("crane", "crane"))
    with pytest.raises(ModelError, match="the folders 2, cat are the same class"):
        classes_of(["2", "ant", "cat"], ANIMALS)


@pytest.mark.parametrize(
    "prediction",
    [
        None,
        [],
        {},
        {"top": []},
        {"top": [{"label": "ant", "index": 1, "score": 1.0}]},  # class 0 is not listed
        {"top": [{"label": "ant", "index": "x", "score": 1.0}]},
        {"top": [{"label": "ant", "score": 1.0}]},
        {"type": "long", "sub_text": "12A"},
    ],
)
def test_a_reply_of_another_kind(prediction: object) -> None:
    assert read_prediction(prediction) is None


def test_a_picture_that_cannot_be_read_is_named() -> None:
    class Refusing(Saying):
        def look(self, picture: bytes) -> Seen:
            raise PictureError(f"not a picture: {picture[:0]!r}")

    with pytest.raises(PictureError, match=r"0\.png: not a picture"):
        report_of(Refusing(knowing))


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(0))


def test_a_folder_with_a_split_for_testing(tmp_path: Path) -> None:
    write(tmp_path, "train/ant/1.png", "train/bee/2.png", "test/bee/4.png", "test/ant/3.png", "test/ant/deep/0.png")
    pictures = read_pictures(tmp_path)

    assert pictures.labels == ("ant", "bee")
    assert [(each.name, each.label) for each in pictures] == [("ant/3.png", 0), ("ant/deep/0.png", 0), ("bee/4.png", 1)]
    assert len(pictures) == 3
    assert next(iter(pictures)).picture == png(0)


def test_a_folder_of_classes(tmp_path: Path) -> None:
    write(tmp_path, "bee/4.png", "ant/3.png")

    assert [each.name for each in read_pictures(tmp_path)] == ["ant/3.png", "bee/4.png"]
    with pytest.raises(ModelError, match="is no folder"):
        read_pictures(tmp_path / "bee" / "4.png")
    with pytest.raises(ModelError, match="holds no class"):
        read_pictures(tmp_path / "bee")
