"""What a retrieval replies of one picture, in words: what it is called by the pictures that are nearest to it."""

from dataclasses import dataclass

from shardline.client.style import Style, printable

_ID_COLUMNS, _LABEL_COLUMNS = 48, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A picture of the index."""

    name: str
    label: str | None
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """What the neighbours vote for, and which they are, the nearest first."""

    vote: str | None
    neighbours: tuple[Neighbour, ...]


def read_neighbours(prediction: object) -> Retrieved | None:
    """One picture's prediction; None if that is no reply of a retrieval."""
    if not isinstance(prediction, dict):
        return None
    vote, columns = prediction.get("pred"), [prediction.get(key) for key in ("ids", "labels", "dist")]
    lists = [each for each in columns if isinstance(each, list)]
    if len(lists) < len(columns) or len({len(each) for each in lists}) > 1 or not _is_label(vote):
        return None
    rows = list(zip(*lists, strict=True))
    if not all(isinstance(name, str) and _is_label(label) and _is_number(far) for name, label, far in rows):
        return None
    neighbours = tuple(Neighbour(name=name, label=label, distance=float(far)) for name, label, far in rows)
    return Retrieved(vote=vote, neighbours=neighbours)


def draw_neighbours(retrieved: Retrieved, style: Style) -> list[str]:
    """The vote, and below it one line a neighbour: its label, its name, how far it is."""
    if not retrieved.neighbours:
        return ["  nothing near"]
    labels = [_short(each.label or "-", _LABEL_COLUMNS) for each in retrieved.neighbours]
    names = [_short(each.name, _ID_COLUMNS) for each in retrieved.neighbours]
    width, name_width, rank_width = max(map(len, labels)), max(map(len, names)), len(str(len(names)))
    said = "no label near" if retrieved.vote is None else _short(retrieved.vote, _LABEL_COLUMNS)
    agree = sum(each.label == retrieved.vote for each in retrieved.neighbours)
    share = "" if retrieved.vote is None else f"  {agree} of {len(names)}"
    return [
        f"  {style.bold(said)}{share}",
        *(
            style.faint(f"  {rank:>{rank_width}}  {label:<{width}}  {name:<{name_width}}  {each.distance:.4f}")
            for rank, (label, name, each) in enumerate(zip(labels, names, retrieved.neighbours, strict=True), 1)
        ),
    ]


def retrieval_parameters(k: int | None, nprobe: int | None, ef_search: int | None = None) -> dict[str, object]:
    """What a request says of it: only what is asked for."""
    asked = {"k": k, "nprobe": nprobe, "efSearch": ef_search}
    return {name: value for name, value in asked.items() if value is not None}


def _is_label(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(text: str, columns: int) -> str:
    shown = printable(text)
    return shown if len(shown) <= columns else shown[: columns - 1] + "…"
