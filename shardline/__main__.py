"""The command `shardline`, which `python -m shardline` runs, too.

A subcommand's module is imported when the subcommand is run or its help is shown, so that each starts quickly.
"""

import errno
import re
import sys
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape
from typer.core import TyperGroup
from typer.main import get_group

import shardline
from shardline.console import err
from shardline.wire.errors import ShardlineError
from shardline.wire.text import printable

_SETTINGS: dict[str, Any] = {"pretty_exceptions_enable": False, "rich_markup_mode": "rich"}
_TYPES = {"bool": "", "path": "PATH", "str": "TEXT", "int": "N", "float": "NUMBER"}
# panel of `shardline --help` -> its subcommands -> module in shardline/commands
_PANELS = {
    "Make a bundle": {
        "build": "bundle",
        "plan": "bundle",
        "verify": "bundle",
        "index": "index",
        "list": "cache",
        "clean": "cache",
        "import": "formats",
        "export": "formats",
    },
    "Serve it": {
        "serve": "local",
        "demo": "local",
        "render": "serve",
        "lint": "serve",
        "up": "serve",
        "request": "serve",
    },
    "On a cluster": {"deploy": "cluster", "status": "cluster", "rollback": "cluster", "undeploy": "cluster"},
    "In a bucket": {"push": "bucket", "pull": "bucket", "gs": "bucket", "emulator": "bucket"},
    "Train and measure": {"train": "train", "evaluate": "evaluate", "plates": "plates", "samples": "samples"},
}


class _LazyCommands(MutableMapping[str, Any]):
    """The subcommands by name, each imported when it is asked for."""

    def __init__(self) -> None:
        self._modules = {name: (panel, module) for panel, names in _PANELS.items() for name, module in names.items()}
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            panel, module = self._modules[name]
            app = typer.Typer(**_SETTINGS)
            app.callback()(lambda: None)  # without one, typer makes an app of a single command no group
            import_module(f"shardline.commands.{module}").register(app)
            command = get_group(app).commands[name]
            command.rich_help_panel = panel  # type: ignore[attr-defined]  # typer's commands and groups have it
            _tidy_help(command)
            self._loaded[name] = command
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._modules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def _tidy_help(command: Any) -> None:
    """Unwrap the paragraphs of the help, and leave its text more room by short names of types."""
    command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help)
    for subcommand in getattr(command, "commands", {}).values():
        _tidy_help(subcommand)
    help_option = command.get_help_option(typer.Context(command))  # none where --help goes to another program
    for param in (*command.params, *([help_option] if help_option else [])):
        _shorten_type(param)


def _shorten_type(param: Any) -> None:
    """Show PATH for `<list[Path]>`, nothing for `<bool>` and for arguments, and name choices in the help's text."""
    if param.param_type_name == "argument":
        param.display_type_rich = lambda ctx: None  # noqa: ARG005
        return
    if param.metavar is not None:
        return
    if param.type_descriptor.is_choice:
        choices = list(map(str, param.type_descriptor.choices))
        if any(not re.search(rf"\b{re.escape(choice)}\b", param.help) for choice in choices):
            param.help += f"; one of {', '.join(choices)}"
        param.metavar = "NAME"
        return
    kind = param.display_type(None).strip("<>").removeprefix("list[").rstrip("]").removesuffix(" range")
    param.metavar = _TYPES[kind.lower()]


class _Subcommands(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _LazyCommands()

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, with short names of their types in the help."""
        params: list[Any] = super().get_params(ctx)
        for param in params:
            _shorten_type(param)
        return params


app = typer.Typer(cls=_Subcommands, no_args_is_help=True, **_SETTINGS)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"shardline {shardline.__version__}")
        raise typer.Exit


@app.callback()
def _shardline(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Cut a PyTorch vision model into shards and serve each as its own KServe InferenceService."""


def main() -> None:
    """Run the command; a user's mistake is one line on stderr and exit code 1."""
    try:
        app()
    except ShardlineError as exc:
        _fail(str(exc))
    except OSError as exc:
        if str(exc.strerror).startswith("No usable temporary directory"):  # tempfile's, where the disk is full
            _fail(f"no folder for temporary files can be written ({exc.strerror}): make room, or set TMPDIR")
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" at {exc.filename}" if exc.filename else ""
        _fail(f"the disk is full{where} ({exc.strerror}): make room, or write elsewhere; nothing half-written is left")


def _fail(message: str) -> NoReturn:
    err.print(f"[red]error:[/red] {escape(printable(message))}")
    sys.exit(1)


if __name__ == "__main__":
    main()
