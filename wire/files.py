"""Files from outside, read within a bound: a mistyped name may be a device that never ends, or a disk image."""

from pathlib import Path

from shardline.wire.errors import FileError
from shardline.wire.limits import MIB, format_bytes

TEXT_BYTES = 16 * MIB  # of a file that somebody writes: YAML, labels, options
PICTURE_BYTES = 256 * MIB  # of a picture file, which may be much larger than the copy that is sent


def read_bounded(path: Path, most_bytes: int = TEXT_BYTES) -> bytes:
    """Read a file of at most `most_bytes`.

    Raises:
        FileError: it is larger; no more of it is read.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise FileError(f"{path} has more than {format_bytes(most_bytes)}, the most that is read: give another file")
    return data
