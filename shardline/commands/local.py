"""The shortest way on this machine: `serve`, from a model to a served chain in one command, and `demo`."""

import gc
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from shardline.cached_bundle import find_or_build
from shardline.commands.bundle import CompileOption, PrecisionOption, make_bundle
from shardline.console import err, say
from shardline.manifests.local import up as run_chain
from shardline.options.group import option
from shardline.options.model import (
    ModelArguments,
    PreparationArguments,
    takes_model_options,
    takes_preparation_options,
)
from shardline.options.plan import PlanArguments, takes_plan_options
from shardline.options.up import UpArguments, takes_up_options
from shardline.process_output import RichConsole
from shardline.storage.bundle import BUNDLE_FILE, GOLDEN_PICTURE_FILE, GOLDEN_REQUEST_FILE, parse_bundle
from shardline.storage.user_cache import in_use
from shardline.wire.errors import UsageError

_OF_BUNDLES = {"model", "verbose", "port", "router", "threads"}  # parameters of `serve` that go with a bundle


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline serve efficientnet-lite0 --port 8080")(serve)
    app.command(epilog="Example: shardline demo plates --seed 7")(demo)


@takes_plan_options
@takes_preparation_options
@takes_model_options
@takes_up_options
def serve(
    context: typer.Context,
    name: Annotated[str | None, option(help="Name of the bundle and of the chain (default: the model's name)")] = None,
    precision: PrecisionOption = "fp32",
    compile_for: CompileOption = None,
    verbose: Annotated[bool, option("--verbose", help="Print the output of the stages' processes, too")] = False,
    *,
    model: ModelArguments,
    preparation: PreparationArguments,
    plan: PlanArguments,
    run: UpArguments,
) -> None:
    """Build MODEL if that was not done before, and serve it on this machine; MODEL may also be a bundle's folder.

    The bundle stays in the cache ($XDG_CACHE_HOME/shardline, else ~/.cache/shardline) and is used again while model,
    options, torch and the model's own files are the same; --fresh builds it again. Ctrl-C stops the chain.
    """
    folder = Path(model["model"])
    if folder.name == BUNDLE_FILE:
        folder = folder.parent
    if (folder / BUNDLE_FILE).is_file():
        _check_no_build_options(context, folder)
        say(f"bundle: {folder}")
    else:
        decisive = {name: value for name, value in plan.items() if name != "fresh"}
        options = {**model, **preparation, **decisive, "precision": precision, "compile": compile_for, "name": name}

        def build(path: Path, chosen: str) -> None:
            make_bundle(
                path,
                chosen,
                precision=precision,
                compile_for=compile_for,
                model=model,
                preparation=preparation,
                plan=plan,
            )

        folder = find_or_build(model["model"], options, build, name=name, fresh=plan["fresh"], say=say)
        gc.collect()  # the model that was cut is not needed any more
    with in_use(folder):
        run_chain(folder, **run, console=_ServeConsole(folder, verbose=verbose))


def _check_no_build_options(context: typer.Context, folder: Path) -> None:
    """Refuse options that would have no effect on a bundle, which was built already."""
    typed: list[str] = []
    for parameter in context.command.params:
        source: Any = context.get_parameter_source(str(parameter.name))
        if parameter.name not in _OF_BUNDLES and source is not None and source.name == "COMMANDLINE":
            typed.append(max(parameter.opts, key=len))
    if typed:
        raise UsageError(f"{folder} is a bundle, and is served as it was built: leave out {', '.join(sorted(typed))}")


class _ServeConsole(RichConsole):
    """Print the URL on stdout when the chain is ready, and the commands that send it a picture on stderr."""

    def __init__(self, folder: Path, *, verbose: bool) -> None:
        super().__init__(quiet=not verbose)
        self._folder = folder

    def ready(self, url: str) -> None:
        super().ready(url)
        for line in first_requests(self._folder, url):
            err.print(line, markup=False, highlight=False)
        say("Ctrl-C stops it")


def first_requests(folder: Path, url: str) -> tuple[str, str]:
    """The commands of `shardline request` and curl that send a served bundle its golden picture.

    A model that takes further inputs has them in a golden request; for `shardline request` they are named as FILE.
    """
    golden, whole = folder / GOLDEN_PICTURE_FILE, folder / GOLDEN_REQUEST_FILE
    picture = str(golden) if golden.is_file() else "photo.jpg"
    further = [f"--input={spec.name}=@FILE" for spec in parse_bundle((folder / BUNDLE_FILE).read_bytes()).inputs]
    request = ["shardline", "request", picture, *further, "--url", url]
    curl = ["curl", "--data-binary", f"@{whole if whole.is_file() else picture}", url]
    return shlex.join(request), shlex.join(curl)


def demo(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Model to demonstrate: plates, or torchvision:NAME with random weights"),
    ] = "plates",
    stages: Annotated[int, option(min=1, help="Number of stages")] = 3,
    seed: Annotated[int | None, option(help="Seed of the drawn license plate (default: random)")] = None,
) -> None:
    """Go the whole way once in the current folder: build, push, serve, send a picture, verify; print each command.

    A license plate with a random text is drawn onto a photograph; exit with 1 if another text is read. The demo needs
    the extras local, plates and samples. It writes into bundles/ and manifests-out/.
    """
    from shardline.demo import run_demo

    raise typer.Exit(0 if run_demo(model, stages=stages, seed=seed) else 1)
