"""The commands that make a bundle: `build`, `plan` and `verify`."""

import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import shardline
from shardline.console import next_step, out, say
from shardline.options.group import option
from shardline.options.model import (
    ModelArguments,
    PreparationArguments,
    takes_model_options,
    takes_preparation_options,
)
from shardline.options.plan import PlanArguments, takes_plan_options
from shardline.progress import track
from shardline.storage.bundle import BUNDLE_FILE, bundle_name
from shardline.storage.bundle_folder import check_replaced, open_bundle
from shardline.tables import bundle_dict, bundle_table, explanation_table, plan_table
from shardline.tasks.registry import task_code
from shardline.wire.errors import MissingPackageError, UsageError
from shardline.wire.limits import Limits

if TYPE_CHECKING:
    from shardline.partition.verify import CompiledReport, VerifyReport
    from shardline.storage.bundle import Bundle, Tolerance

_PLOT_SUFFIXES = (".png", ".svg", ".pdf")


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline build torchvision:resnet50 --weights random:0 --stages 3 --out bundles/r50")(
        build
    )
    app.command(epilog="Example: shardline plan torchvision:resnet50 --weights random:0 --stages 3 --explain")(plan)
    app.command(epilog="Example: shardline verify bundles/resnet50 --images photos --json")(verify)


PrecisionOption = Annotated[str, option(help="Precision of weights, activations and frames: fp32, bf16 or fp16")]
CompileOption = Annotated[
    str | None, option("--compile", help="Also compile for this machine: cpu, cuda or cpu,cuda (default: no)")
]


@takes_plan_options
@takes_preparation_options
@takes_model_options
def build(
    out_folder: Annotated[
        Path, option("--out", help="Folder of the bundle; an older bundle of the same model there is replaced")
    ],
    name: Annotated[str | None, option(help="Name of the bundle (default: the folder's name)")] = None,
    replace: Annotated[
        bool, option("--replace", help="Replace the bundle of another model that stands at --out (default: refuse)")
    ] = False,
    precision: PrecisionOption = "fp32",
    compile_for: CompileOption = None,
    *,
    model: ModelArguments,
    preparation: PreparationArguments,
    plan: PlanArguments,
) -> None:
    """Capture MODEL, plan its cuts, cut it, and write the bundle."""
    bundle = make_bundle(
        out_folder,
        bundle_name(name or out_folder.name),
        precision=precision,
        compile_for=compile_for,
        model=model,
        preparation=preparation,
        plan=plan,
        replace=replace,
    )
    out.print(bundle_table(bundle))
    out.print(f"{out_folder}: {bundle.name} {bundle.digest}")
    if bundle.task.name == "retrieve":
        next_step("index", "build", "--bundle", str(out_folder), "--data", "FOLDER")
    else:
        next_step("up", str(out_folder))


def make_bundle(
    folder: Path,
    name: str,
    *,
    precision: str,
    compile_for: str | None,
    model: ModelArguments,
    preparation: PreparationArguments,
    plan: PlanArguments,
    replace: bool = False,
) -> "Bundle":
    """Capture a model, plan its cuts, cut it, and write the bundle at `folder`."""
    from shardline.partition.compiling import check_targets

    targets = tuple(dict.fromkeys(part.strip() for part in compile_for.split(","))) if compile_for else ()
    check_targets(targets)  # before anything slow is done
    _check_size(model, plan)
    captured = shardline.capture(**model, **preparation, precision=precision, progress=say)
    if not replace:
        check_replaced(folder, captured.model.reference)
    planned = shardline.plan(captured, **plan, progress=say)
    return shardline.build(captured, folder, plan=planned, name=name, compile_for=targets, progress=say)


@takes_plan_options
@takes_model_options
def plan(
    context: typer.Context,
    explain: Annotated[
        bool, option("--explain", help="Show the plans that were compared, and why this one was chosen")
    ] = False,
    plot: Annotated[
        Path | None, option(help="Plot costs and cuts along the model into this .png, .svg or .pdf file")
    ] = None,
    as_json: Annotated[
        bool, option("--json", help="Print the plan as JSON, with everything that --explain shows")
    ] = False,
    *,
    model: ModelArguments,
    plan: PlanArguments,
) -> None:
    """Measure MODEL on this machine and show the plan. If MODEL is a bundle's folder, show the plan of that bundle."""
    folder = Path(model["model"])
    if (folder / BUNDLE_FILE).is_file():
        _refuse_options(context, folder)
        _print_plan(bundle_dict(open_bundle(folder)), as_json=as_json)
        return
    if plot is not None:
        check_plot(plot)  # before anything slow is done
    _check_size(model, plan)
    captured = shardline.capture(**model, progress=say)
    planned = shardline.plan(captured, **plan, progress=say)
    _print_plan(planned.to_dict(), as_json=as_json, explain=explain)
    if plot is not None:
        from shardline.plan_plot import draw_plan

        draw_plan(planned.planned, captured.model.reference, plot)
        say(f"wrote {plot}")


def _check_size(model: ModelArguments, plan: PlanArguments) -> None:
    """Check that a picture of --size fits into a request of --limit."""
    from shardline.partition.infeasible import check_pixels

    if (size := model["size"]) is not None:
        height, width = (size, size) if isinstance(size, int) else size
        check_pixels(height * width, Limits(request_bytes=plan["limit"]))  # of at least one channel


def _refuse_options(context: typer.Context, bundle: Path) -> None:
    """
    Raises:
        UsageError: options are given that a bundle's plan, which is made already, cannot follow.
    """
    given = [
        param.opts[0]
        for param in context.command.params
        if param.param_type_name == "option"
        and param.opts[0] != "--json"
        and getattr(context.get_parameter_source(str(param.name)), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise UsageError(
            f"{bundle} is a bundle, whose plan is made already: {', '.join(given)} cannot change it; name the model to "
            "plan it again, or leave the options out"
        )


def _print_plan(document: dict[str, Any], *, as_json: bool, explain: bool = False) -> None:
    if as_json:
        print(json.dumps(document))
        return
    out.print(plan_table(document))
    if explain:
        explanation = document["explain"]
        out.print(explanation_table(document))
        out.print(f"{explanation['plans']:,} plans are possible, {explanation['within_limits']:,} keep the limits")
        for reason in explanation["reasons"]:
            out.print(reason)
        hop = document["hop"]
        out.print(
            f"overhead of a stage: {hop['fixed_ms']} ms and {hop['per_mebibyte_ms']} ms per MiB ({hop['source']})"
        )


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
            metavar="NAME",
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
        track=partial(track, "comparing"),
    )
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        out.print(summary(report))
    raise typer.Exit(0 if report.passed else 1)


def check_plot(path: Path) -> None:
    """
    Raises:
        UsageError: the file cannot be written there, or not in this format.
        MissingPackageError: matplotlib is not installed.
    """
    if path.suffix.lower() not in _PLOT_SUFFIXES:
        raise UsageError(f"--plot {path}: allowed are files that end with {', '.join(_PLOT_SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--plot {path}: there is no folder {path.absolute().parent}")
    if find_spec("matplotlib") is None:
        raise MissingPackageError("--plot needs matplotlib: pip install 'shardline[plots]'")


def summary(report: "VerifyReport") -> str:
    """Summarise a comparison: the verdict, and one line for each cut where tensors differ."""
    lines = [_portable(report)]
    if report.top1_agreement is not None:
        task = task_code(report.task)
        lines.append(f"{task.agreement} {report.top1_agreement:g}, {report.top1_classes} different {task.plural}")
        if report.task == "classify" and report.top1_classes == 1 and report.pictures > 1:
            lines.append(
                f"warning: all {report.pictures} pictures get the same class: check --mean, --std and the weights"
            )
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
    agreement = task_code(task).agreement
    found = "" if compiled.top1_agreement is None else f", {agreement} {compiled.top1_agreement:g}"
    verdict = _verdict("compiled split", compiled.within)
    return f"{verdict} {_errors(compiled.max_relative_error, compiled.tolerance, task)}{found}"


def _verdict(what: str, within: bool) -> str:
    return f"{what} {'~=' if within else '!='} whole:"


def _errors(found: float, allowed: "Tolerance", task: str) -> str:
    return (
        f"max relative error {found:.2g}, allowed {allowed.max_relative_error:g} "
        f"and a {task_code(task).agreement} of {allowed.top1_agreement:g}"
    )
