"""A folder that is written in one step: whoever looks sees all of it, or nothing."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shardline.wire.errors import FormatError


@contextmanager
def writing_folder(out: Path) -> Iterator[Path]:
    """Yields an empty folder beside `out` to fill; at the end it becomes `out`, which must not be there or be empty.

    Raises:
        FormatError: something is there already, or it cannot be written.
    """
    out = out.resolve()
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise FormatError(f"{out} is there already: choose another --out or remove it")
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as exc:
        raise FormatError(f"{out} cannot be written ({exc.strerror}): choose another --out") from exc
    try:
        yield draft
        draft.chmod(0o755)
        draft.replace(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
