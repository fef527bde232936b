"""Image retrieval: the parameters of a request, and the neighbours in its reply."""

from dataclasses import dataclass


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


def _is_label(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
