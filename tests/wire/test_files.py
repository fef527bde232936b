"""Files from outside: one that never ends, or is too large, is refused in one line."""

from pathlib import Path

import pytest

from shardline.wire.errors import FileError
from shardline.wire.files import read_bounded
from shardline.wire.limits import MIB


def test_a_file_up_to_the_bound_is_read(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"x" * 10)

    assert read_bounded(tmp_path / "labels.txt", 10) == b"x" * 10


@pytest.mark.parametrize("name", ["large.txt", "/dev/zero"])
def test_more_is_not_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if not path.exists():
        path.write_bytes(bytes(2 * MIB))

    with pytest.raises(FileError, match=r"has more than 1\.0 MiB, the most that is read"):
        read_bounded(path, MIB)
