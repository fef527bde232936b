"""Groups of options: a decorator puts all options of a group in place of one parameter."""

from typing import Annotated

import typer
from typer.testing import CliRunner

from shardline.options.group import option, takes_options


def _box(
    width: Annotated[int, option(help="Width", panel="Box")] = 2,
    height: Annotated[int, option("--height", "-h", help="Height", panel="Box")] = 3,
) -> int:
    return width * height


def _crate(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    open_: Annotated[bool, option("--open", help="Leave it open")] = False,
) -> str:
    return f"{name}{'?' if open_ else '!'}"


takes_box = takes_options("area", _box)
takes_crate = takes_options("crate", _crate)


@takes_box
@takes_crate
def pack(count: Annotated[int, option(help="Count")] = 1, *, area: int, crate: str) -> None:
    """Pack a crate."""
    print(count, area, crate)


app = typer.Typer()
app.command()(pack)


def test_each_group_becomes_one_value() -> None:
    assert CliRunner().invoke(app, ["tea"]).stdout == "1 6 tea!\n"
    assert CliRunner().invoke(app, ["tea", "--open", "--width", "5", "--count", "4"]).stdout == "4 15 tea?\n"


def test_help_lists_the_options_in_the_groups_panel() -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout

    assert "Box" in text
    assert all(name in text for name in ("NAME", "--count", "--width", "--height", "--open"))
    assert "--area" not in text


def test_an_option_of_no_group_is_unknown() -> None:
    assert CliRunner().invoke(app, ["tea", "--area", "3"]).exit_code == 2
