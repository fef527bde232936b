"""Groups of options that several commands share: a decorator puts a whole group in place of one parameter.

    @takes_bucket_options
    def push(bundle: ..., *, access: Access) -> None:

gives `push` the options --key-file, --anonymous and --retry-for, and the function gets one value.
"""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Any

import typer

Command = Callable[..., None]


def takes_options(parameter: str, collect: Callable[..., Any]) -> Callable[[Command], Command]:
    """Build the decorator that replaces a command's keyword `parameter` by all options of the function `collect`.

    The command is called with `parameter=collect(...)`. Decorators of several groups can be stacked: their options
    follow the command's own, those of the innermost decorator first.
    """
    shared = signature(collect, eval_str=True).parameters

    def decorate(command: Command) -> Command:
        own = [given for name, given in signature(command, eval_str=True).parameters.items() if name != parameter]

        @wraps(command)
        def with_options(**given: Any) -> None:
            value = collect(**{name: given.pop(name) for name in shared})
            command(**given, **{parameter: value})

        parameters = [given.replace(kind=Parameter.KEYWORD_ONLY) for given in (*own, *shared.values())]
        with_options.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]  # PEP 362
        with_options.__annotations__ = {given.name: given.annotation for given in parameters}
        return with_options

    return decorate


def option(*names: str, help: str, panel: str | None = None, **more: Any) -> Any:
    """A `typer.Option` that is listed in the box `panel` of the command's help."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)
