"""Show every picture to everything that is compared: one pass, in which no picture is kept."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from shardline.wire.errors import PictureError


class Shown(Protocol):
    """A picture as its file's bytes, and a name that finds it again."""

    @property
    def name(self) -> str: ...

    @property
    def picture(self) -> bytes: ...


SampleT = TypeVar("SampleT", bound=Shown)
SeenT = TypeVar("SeenT")


def show(
    samples: Iterable[SampleT], looks: Sequence[Callable[[bytes], SeenT]], on_picture: Callable[[], None]
) -> Iterator[tuple[SampleT, list[SeenT]]]:
    """Each sample, and what each of `looks` says of its picture; `on_picture` is called when both were made use of.

    Raises:
        ShardlineError: a picture cannot be read, or something does not answer; a PictureError names the sample.
    """
    for sample in samples:
        try:
            seen = [look(sample.picture) for look in looks]
        except PictureError as exc:
            raise PictureError(f"{sample.name}: {exc}") from exc
        yield sample, seen
        on_picture()
