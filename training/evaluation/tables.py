"""A table of a report, before it is known where it is shown: in a terminal or on a page."""

from collections.abc import Sequence
from dataclasses import dataclass

from shardline.training.evaluation.difference import Difference
from shardline.training.evaluation.share import Share

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The first column names what the others hold. Rows stand in groups."""

    title: str
    columns: tuple[str, ...]
    groups: tuple[tuple[Row, ...], ...]


def number(value: float | None, decimals: int = 4) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def percent(share: Share) -> tuple[str, str]:
    """The share, and its interval."""
    if share.share is None or share.low is None or share.high is None:
        return "-", "-"
    return f"{100 * share.share:.1f} %", f"{100 * share.low:.1f}–{100 * share.high:.1f}"


def with_interval(share: Share) -> str:
    return "-" if share.share is None else "{} ({})".format(*percent(share))


def differences(found: Sequence[Difference], first: str, answers: str) -> list[str]:
    """A line for each; `answers` are what may be the same, such as "plates"."""
    return [_difference(each, first, answers) for each in found]


def _difference(found: Difference, first: str, answers: str) -> str:
    same = f"the same {answers} in {found.same} of {found.pictures} pictures"
    if found.max_abs_difference is None:
        return f"{found.name} and {first}: {same}"
    return (
        f"{found.name} and {first}: {found.equal} of {found.pictures} pictures equal to the bit, "
        f"max abs difference {found.max_abs_difference:g}; {same}"
    )
