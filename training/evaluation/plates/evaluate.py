"""Evaluation of plate detectors: predictions of several sources, counted in one pass, and the worst misses.

The wider a plate that was not read, or a false positive, the worse the miss. Misses are kept as thumbnails.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shardline.client.tiling import Tiling
from shardline.tasks.plates.grammar import PlateGrammar, built_in
from shardline.training.evaluation.metrics import SourceComparison
from shardline.training.evaluation.plates.metrics import PlateAccumulator, PlateReport, input_scale
from shardline.training.evaluation.plates.pictures import (
    DrawnPictures,
    PlainPhotographs,
    PlatePicture,
    PlatePictures,
    Points,
    StoredPictures,
    drawn_pictures,
)
from shardline.training.evaluation.plates.readings import (
    JudgedPicture,
    JudgedPlate,
    RawPlate,
    ReadingOutcome,
    judge,
    text_of,
)
from shardline.training.evaluation.plates.report import plate_page
from shardline.training.evaluation.plates.sources import PlateSource, PlateSources
from shardline.training.evaluation.plots import Thumbnail, shorten_name
from shardline.training.evaluation.report import Evaluation, complete, make_report_folder
from shardline.training.evaluation.run import Advance, EvaluationRun, WorstCases, predict_all
from shardline.training.evaluation.served import open_sources
from shardline.training.evaluation.thumbnails import crop_around, moved_outline
from shardline.training.folder import check_pictures
from shardline.training.plates.geometry import Box


def evaluate_plates(
    run: EvaluationRun,
    *,
    stored: Path | None,
    count: int,
    seed: int,
    fonts: Literal["train", "held-out", "all"],
    backgrounds: Sequence[Path],
    size: int | None,
    covered_characters: int,
    grammar: PlateGrammar,
    tiling: Tiling,
    threshold: float,
    plain: Sequence[Path] | None,
    most_misses: int,
) -> Evaluation:
    """Open pictures and sources, evaluate, and write the report.

    Args:
        stored: a folder of `shardline plates draw`; None: draw pictures.
        count: number of pictures to draw, with this `seed`, in these `fonts`.
        backgrounds: photographs to draw onto.
        size: side length in pixels of drawn pictures, and of the network's input for weights alone; None: 512.
        covered_characters: number of characters that are covered on each drawn plate.
        grammar: of drawn plates; a stored data set has its own.
        tiling: as of `PlateSources`.
        threshold: the least score of a plate.
        plain: photographs without plates.
        most_misses: thumbnails in the report.

    Raises:
        ShardlineError: a picture or a model cannot be read, a source does not answer, or the report cannot be written.
    """
    pictures: DrawnPictures | StoredPictures = (
        drawn_pictures(count, seed, fonts, backgrounds, size, covered_characters, grammar)
        if stored is None
        else StoredPictures(stored)
    )
    photographs = None if plain is None else PlainPhotographs(files=tuple(plain))
    make_report_folder(run.out)
    sources = open_sources(PlateSources(size=size, program=run.program, tiling=tiling, grammar=pictures.grammar), run)
    files = (*pictures.files, *(photographs.files if photographs else ()))
    run.progress(f"looking through {len(files)} pictures")
    check_pictures(files)
    with run.bar(len(pictures) + len(photographs or ())) as advance:
        report, misses = evaluate(pictures, sources, threshold, photographs, most_misses, advance, pictures.grammar)
    page = plate_page(report, [miss.thumbnail() for miss in misses], "drawn plates" if stored is None else str(stored))
    return complete(run, report.to_dict(), page)


def evaluate(
    pictures: PlatePictures,
    sources: Sequence[PlateSource],
    threshold: float,
    plain: PlatePictures | None = None,
    most_misses: int = 48,
    advance: Advance = lambda: None,
    grammar: PlateGrammar | None = None,
) -> "tuple[PlateReport, list[PlateMiss]]":
    """Evaluate the sources; return the report and the first source's worst misses, the worst first.

    Args:
        plain: photographs without plates.
        advance: called after each picture.
        grammar: of the plates; None: the built-in one.

    Raises:
        ShardlineError: a picture cannot be read, or a source does not answer.
    """
    grammar = grammar or built_in()
    accumulators = [PlateAccumulator(source.name, threshold, grammar) for source in sources]
    comparisons = [SourceComparison(source.name) for source in sources[1:]]
    worst: WorstCases[PlateMiss] = WorstCases(most=most_misses)
    predictors = [partial(source.predict, threshold=threshold) for source in sources]
    for picture, predictions in predict_all(pictures, predictors, advance):
        first = predictions[0]
        for accumulator, prediction in zip(accumulators, predictions, strict=True):
            accumulator.add(picture, prediction)
        for comparison, prediction in zip(comparisons, predictions[1:], strict=True):
            same = _texts(prediction.plates, grammar) == _texts(first.plates, grammar)
            comparison.add(picture.name, prediction.outputs, first.outputs, same=same)
        add_misses(worst, picture, judge(picture, first.plates), input_scale(first), grammar)
    for photograph, predictions in predict_all(plain or (), predictors, advance):
        for accumulator, prediction in zip(accumulators, predictions, strict=True):
            accumulator.add_plain(photograph, prediction)
        first = predictions[0]
        add_misses(worst, photograph, judge(photograph, first.plates), input_scale(first), grammar)
    report = PlateReport(
        threshold=threshold,
        pictures=len(pictures),
        sides=tuple(accumulator.metrics(plain=plain is not None) for accumulator in accumulators),
        differences=tuple(comparison.difference() for comparison in comparisons),
        characters=tuple(grammar.characters),
    )
    return report, worst.worst_first()


def _texts(plates: Sequence[RawPlate], grammar: PlateGrammar) -> list[tuple[str, ...]]:
    keys = ("type", *(group.name for group in grammar.groups))
    return sorted(tuple(str(plate.get(key)) for key in keys) for plate in plates)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateMiss:
    """A plate that was not read, or a false positive.

    Attributes:
        width_px: of the plate in the network's input.
        wanted: such as "long 12A 3456", or "no plate".
        pixels: uint8 [height, width, 3], the plate and what is around it; the outlines are in its coordinates.
    """

    picture: str
    width_px: float
    wanted: str
    found: str
    pixels: NDArray[np.uint8]
    true_outline: Points | None
    found_outline: Points | None

    def thumbnail(self) -> Thumbnail:
        return Thumbnail(
            pixels=self.pixels,
            title=f"{self.wanted}\n→ {self.found}\n{self.width_px:.0f} px, picture {shorten_name(self.picture)}",
            true_outline=self.true_outline,
            found_outline=self.found_outline,
        )


def add_misses(
    worst: WorstCases[PlateMiss], picture: PlatePicture, judged: JudgedPicture, scale: float, grammar: PlateGrammar
) -> None:
    """Add what went wrong with one picture.

    Args:
        scale: pixels of the network's input for one pixel of the picture.
    """
    for judged_plate in judged.plates:
        if judged_plate.outcome is not ReadingOutcome.RIGHT:
            width_px = judged_plate.plate.width_px * scale
            worst.add(width_px, partial(_missed_plate, picture, judged_plate, width_px, grammar))
    for prediction in judged.false:
        width_px = float(prediction["width"]) * scale
        worst.add(width_px, partial(_false_positive, picture, prediction, width_px, grammar))


def _missed_plate(picture: PlatePicture, judged: JudgedPlate, width_px: float, grammar: PlateGrammar) -> PlateMiss:
    plate = judged.plate
    wanted = f"{plate.kind} {plate.text}"
    return _miss(picture, plate.box, width_px, wanted, plate.quad, judged.prediction, grammar)


def _false_positive(picture: PlatePicture, found: RawPlate, width_px: float, grammar: PlateGrammar) -> PlateMiss:
    left, top, right, bottom = found["box"]
    return _miss(picture, (left, top, right, bottom), width_px, "no plate", None, found, grammar)


def _miss(
    picture: PlatePicture, box: Box, width_px: float, wanted: str, true_quad: Points | None, found: RawPlate | None,
    grammar: PlateGrammar,
) -> PlateMiss:  # fmt: skip
    pixels, corner, zoom = crop_around(picture.picture, box)
    return PlateMiss(
        picture=picture.name,
        width_px=width_px,
        wanted=wanted,
        found="nothing" if found is None else _described(found, grammar),
        pixels=pixels,
        true_outline=None if true_quad is None else moved_outline(true_quad, corner, zoom),
        found_outline=None if found is None else moved_outline(found["quad"], corner, zoom),
    )


def _described(found: RawPlate, grammar: PlateGrammar) -> str:
    return f"{found.get('type')} {text_of(found, grammar)}, {float(found['score']):.2f}"
