"""What an index holds beside its vectors: which picture each one is of, and how it is searched (index.json)."""

import json
import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, cast, get_args

from shardline.wire.errors import BundleError

Kind = Literal["flat", "ivf", "hnsw"]
Metric = Literal["l2", "cosine"]

KINDS: tuple[Kind, ...] = get_args(Kind)
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """index.json, parsed. The vector at place i is of the picture `ids[i]`, whose label is `labels[i]`, if it has one.

    `effort` is what a search takes where the request does not say: lists looked through (nprobe) of an ivf index,
    candidates kept (efSearch) of an hnsw one, 0 of a flat one, which always looks at all.
    """

    kind: Kind
    metric: Metric
    width: int
    effort: int
    ids: tuple[str, ...]
    labels: tuple[str | None, ...]

    def to_json(self) -> bytes:
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()


def parse_entries(data: bytes) -> Entries:
    """index.json's bytes -> Entries.

    Raises:
        BundleError: not JSON, or not what `to_json` writes.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise _wrong(f"it is not JSON: {exc}") from exc
    names = {field.name for field in fields(Entries)}
    if not isinstance(document, dict) or document.keys() != names:
        raise _wrong(f"it must be an object with {', '.join(sorted(names))}")
    _check(document)
    return Entries(
        kind=cast(Kind, document["kind"]),
        metric=cast(Metric, document["metric"]),
        width=document["width"],
        effort=document["effort"],
        ids=tuple(document["ids"]),
        labels=tuple(document["labels"]),
    )


def check_new(ids: Sequence[str], known: Sequence[str] = ()) -> None:
    """
    Raises:
        BundleError: an id twice among `ids`, or one that is known already.
    """
    twice = [each for each, count in Counter((*known, *ids)).items() if count > 1]
    if twice:
        raise BundleError(
            f"{len(twice)} pictures would be in the index twice, the first is {reprlib.repr(twice[0])}: each id is "
            "there once; leave them out, or build the index anew"
        )


def _check(document: dict[str, Any]) -> None:
    if document["kind"] not in KINDS or document["metric"] not in METRICS:
        raise _wrong(f"kind and metric are {reprlib.repr((document['kind'], document['metric']))}")
    if not all(type(document[name]) is int and document[name] >= 0 for name in ("width", "effort")):
        raise _wrong("width and effort must be whole numbers from 0")
    ids, labels = document["ids"], document["labels"]
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise _wrong("ids must be a list of texts")
    if not isinstance(labels, list) or not all(each is None or isinstance(each, str) for each in labels):
        raise _wrong("labels must be a list of texts and nulls")
    if not ids or len(ids) != len(labels):
        raise _wrong(f"it has {len(ids)} ids and {len(labels)} labels, which must be as many, and at least one")


def _wrong(what: str) -> BundleError:
    return BundleError(f"the bundle's index.json is none ({what}): build the index again")
