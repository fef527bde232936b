"""What neighbours vote for."""

from collections.abc import Sequence


def vote(labels: Sequence[str | None]) -> str | None:
    """The label that most neighbours have, of equally many the nearest one's; None where none has a label.

    Args:
        labels: of the neighbours, the nearest first.
    """
    named = [label for label in labels if label is not None]
    return max(dict.fromkeys(named), key=named.count, default=None)
