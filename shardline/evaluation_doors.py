"""How every `shardline evaluate` comes to what it asks: a model, a chain that is served, and bundles beside it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from shardline.client.pictures import fit_body
from shardline.client.target import Target
from shardline.console import say
from shardline.wire.errors import PredictorError
from shardline.wire.limits import REQUEST_BYTES

SourceT_co = TypeVar("SourceT_co", covariant=True)
SourceT = TypeVar("SourceT")
ReplyT = TypeVar("ReplyT")


class Doors(Protocol[SourceT_co]):
    """How one task's evaluation opens what it asks. Each raises ShardlineError where that cannot be."""

    def served(self, url: str) -> SourceT_co: ...

    def opened(self, model: Path | None) -> Sequence[SourceT_co]:
        """What a MODEL stands for: of a bundle its chain and its whole. None is the one that ships, if one does."""
        ...

    def chain(self, bundle: Path) -> SourceT_co: ...


def open_sources(
    doors: Doors[SourceT], model: Path | None, url: str | None, against: Sequence[Path], threads: int | None
) -> list[SourceT]:
    """What is asked for, the chain at `url` or else the model, and beside it the chains of the bundles in `against`.

    Raises:
        ShardlineError: as the doors.
    """
    if url is None or against:
        from shardline.partition.threads import use_threads

        use_threads(threads)
    if url is None:
        say(f"loading {model or 'the model that ships'}")
    sources = list(doors.opened(model)) if url is None else [doors.served(url)]
    for folder in against:
        say(f"loading {folder}")
        sources.append(doors.chain(folder))
    return sources


class ServedChain:
    """A chain that answers at a URL."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._target = Target(url)

    def ask(
        self, picture: bytes, parameters: Mapping[str, object], read: Callable[[object], ReplyT | None], what: str
    ) -> ReplyT:
        """What is said of one picture, sent alone.

        Args:
            read: a prediction -> what it says; None where it is of another task.
            what: it should say, such as "plates".

        Raises:
            PredictorError: it does not answer, or with something else.
        """
        predictions = self._target.ask(fit_body(picture, parameters, REQUEST_BYTES)).predictions
        said = read(predictions[0]) if len(predictions) == 1 else None
        if said is None:
            start = str(list(predictions))[:120]
            raise PredictorError(f"{self.name} replies with something else than {what}: {start}", status=502)
        return said
