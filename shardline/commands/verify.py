"""The command `shardline verify`: compare the chain of shards with the whole model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.progress import track

import shardline
from shardline.console import err, out, say

if TYPE_CHECKING:
    from shardline.partition.verify import CompiledReport, VerifyReport
    from shardline.storage.bundle import Tolerance


class _Answers(NamedTuple):
    """What a task's answers are called, and the share of them that is the same."""

    agreement: str
    plural: str


_ANSWERS = {
    "classify": _Answers("top-1 agreement", "classes"),
    "plates": _Answers("share of pictures with the same plates read", "readings"),
    "retrieve": _Answers("share of pictures with the same answer", "answers"),
}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline verify bundles/resnet50 --images photos --json")(verify)


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle")],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pictures to compare on (default: the photographs in scikit-image; for plates, with plates "
            "drawn onto them)"
        ),
    ] = None,
    random: Annotated[int, typer.Option(min=0, help="Number of random tensors to compare on as well")] = 4,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Number of torch threads (default: the CPUs that this process may use)")
    ] = None,
    program: Annotated[
        str,
        typer.Option(
            metavar="auto|portable|compiled",
            help="Shards to compare: portable ones only, compiled ones too, or auto: compiled ones where they fit this "
            "machine",
        ),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON")] = False,
) -> None:
    """Run the whole model and the chain of shards side by side; exit with 1 unless they are equal.

    In fp32 they must be equal to the bit; in another precision, or compiled, within the bundle's tolerance.
    """
    report = shardline.verify(
        bundle,
        pictures=images,
        random=random,
        threads=threads,
        program=program,
        progress=say,
        track=lambda pictures: track(pictures, description="comparing", console=err, transient=True),
    )
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        out.print(summary(report))
    raise typer.Exit(0 if report.passed else 1)


def summary(report: "VerifyReport") -> str:
    """What was compared and how it ended, one line for each cut where something differs."""
    lines = [_portable(report)]
    if report.top1_agreement is not None:
        what = _ANSWERS[report.task]
        lines.append(f"{what.agreement} {report.top1_agreement:g}, {report.top1_classes} different {what.plural}")
    if report.tolerance is None:
        lines += [
            f"  at {cut.name}: max abs difference {cut.max_abs_difference:g}"
            for cut in report.cuts
            if cut.max_abs_difference
        ]
    if report.compiled is not None:
        lines.append(_compiled(report.compiled, report.task))
    return "\n".join(lines)


def _portable(report: "VerifyReport") -> str:
    where = f"{report.stages} stages, {report.threads} threads"
    if report.tolerance is not None:
        verdict = _verdict(f"{report.precision} split", report.within)
        return f"{verdict} {_errors(report.max_relative_error, report.tolerance, report.task)}, {where}"
    verdict = "split == whole" if report.all_equal else "split != whole"
    return (
        f"{verdict}: {report.equal} of {report.pictures} pictures and {report.random_equal} of {report.random_tensors} "
        f"random tensors equal to the bit, max abs difference {report.max_abs_difference:g}, {where}"
    )


def _compiled(compiled: "CompiledReport", task: str) -> str:
    if compiled.tolerance is None or compiled.max_relative_error is None:
        return f"compiled: not compared, {compiled.why_not}"
    agreement = _ANSWERS[task].agreement
    found = "" if compiled.top1_agreement is None else f", {agreement} {compiled.top1_agreement:g}"
    verdict = _verdict("compiled split", compiled.within)
    return f"{verdict} {_errors(compiled.max_relative_error, compiled.tolerance, task)}{found}"


def _verdict(what: str, within: bool) -> str:
    return f"{what} {'~=' if within else '!='} whole:"


def _errors(found: float, allowed: "Tolerance", task: str) -> str:
    return (
        f"max relative error {found:.2g}, allowed {allowed.max_relative_error:g} and a {_ANSWERS[task].agreement} of "
        f"{allowed.top1_agreement:g}"
    )
