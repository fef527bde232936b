"""Image retrieval: the parameters of a request, and the neighbours in its reply, printed and drawn."""

from dataclasses import dataclass

from shardline.client.canvas import LABEL_COLOUR, Canvas
from shardline.client.terminal import TerminalStyle, shorten

_NAME_COLUMNS, _LABEL_COLUMNS = 48, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One picture of the index: its name, its label, and its distance from the picture that was sent."""

    name: str
    label: str | None
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """Prediction of a retrieval: the label that most neighbours vote for, and the neighbours, the nearest first."""

    vote: str | None
    neighbours: tuple[Neighbour, ...]


def read_neighbours(prediction: object) -> Retrieved | None:
    """Read one picture's prediction; None if it is another task's."""
    if not isinstance(prediction, dict):
        return None
    vote, columns = prediction.get("pred"), [prediction.get(key) for key in ("ids", "labels", "dist")]
    lists = [column for column in columns if isinstance(column, list)]
    if len(lists) < len(columns) or len({len(column) for column in lists}) > 1 or not _is_label(vote):
        return None
    rows = list(zip(*lists, strict=True))
    if not all(isinstance(name, str) and _is_label(label) and _is_number(distance) for name, label, distance in rows):
        return None
    neighbours = tuple(Neighbour(name=name, label=label, distance=float(distance)) for name, label, distance in rows)
    return Retrieved(vote=vote, neighbours=neighbours)


def retrieval_parameters(k: int | None, nprobe: int | None, ef_search: int | None = None) -> dict[str, object]:
    """Parameters of a retrieval request; values of None are left to the server."""
    parameters = {"k": k, "nprobe": nprobe, "efSearch": ef_search}
    return {name: value for name, value in parameters.items() if value is not None}


def neighbour_lines(retrieved: Retrieved, style: TerminalStyle) -> list[str]:
    """The vote, a heading, and one line for each neighbour: its rank, label, name and distance."""
    if not retrieved.neighbours:
        return ["  nothing near"]
    labels = [shorten(neighbour.label or "-", _LABEL_COLUMNS) for neighbour in retrieved.neighbours]
    names = [shorten(neighbour.name, _NAME_COLUMNS) for neighbour in retrieved.neighbours]
    width, name_width = max(5, *map(len, labels)), max(7, *map(len, names))
    rank_width = len(str(len(names)))
    vote = "no label near" if retrieved.vote is None else shorten(retrieved.vote, _LABEL_COLUMNS)
    agreeing = sum(neighbour.label == retrieved.vote for neighbour in retrieved.neighbours)
    share = "" if retrieved.vote is None else f"  {agreeing} of {len(names)}"
    return [
        f"  {style.bold(vote)}{share}",
        style.faint(f"  {'':>{rank_width}}  {'label':<{width}}  {'picture':<{name_width}}  distance"),
        *(
            style.faint(f"  {rank:>{rank_width}}  {label:<{width}}  {name:<{name_width}}  {neighbour.distance:>8.4f}")
            for rank, (label, name, neighbour) in enumerate(zip(labels, names, retrieved.neighbours, strict=True), 1)
        ),
    ]


def mark_neighbours(canvas: Canvas, retrieved: Retrieved) -> None:
    """Write the vote into the picture's upper left corner."""
    canvas.write((0, 0), "no label near" if retrieved.vote is None else retrieved.vote, LABEL_COLOUR)


def _is_label(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
