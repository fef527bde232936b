"""Guard around a user's own code: its output goes to stderr, and whatever it raises becomes one line.

A model's module may print, call `sys.exit()` or fail deep inside a library. What it prints must not end up in a
command's result, so everything that is written to stdout inside the guard goes to stderr. Errors name the line of the
user's own code; where a library says more than a line can hold, the rest is written into a file that the line names.
"""

import io
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import FrameType

from shardline.partition.program import one_line
from shardline.wire.errors import ModelError, ShardlineError

_STDOUT, _STDERR = 1, 2  # the process's file descriptors, which libraries in C write to
_INSTALLED = ("/site-packages/", "/dist-packages/")


@contextmanager
def users_code(what: str, remedy: str = "") -> Iterator[None]:
    """Run a block that calls a user's code, called `what` in messages.

    Raises:
        ModelError: the code raised an exception or called sys.exit(); `remedy` ends the message.
    """
    try:
        with _stdout_as_stderr():
            yield
    except ShardlineError:
        raise
    except (Exception, SystemExit) as exc:
        raise ModelError(f"{what} {described(exc)}{_rest(exc)}{remedy}") from exc


@contextmanager
def converting(what: str) -> Iterator[None]:
    """Run a block in which a library converts a user's model, and keep its log off the terminal.

    Raises:
        ModelError: the conversion failed; the log and the traceback are in a file that the message names.
    """
    log = io.StringIO()
    try:
        with redirect_stderr(log), _stdout_as_stderr():
            yield
    except ShardlineError:
        raise
    except (Exception, SystemExit) as exc:
        raise ModelError(f"{what}: it {described(exc)}{_rest(exc, log.getvalue())}") from exc


def described(exc: BaseException) -> str:
    """Describe an exception in one line: 'raised ValueError at nets.py:12: no such layer'."""
    if isinstance(exc, SystemExit):
        return f"called sys.exit({exc.code!r}){_where(exc)}"
    text, name = one_line(exc), type(exc).__name__
    return f"raised {name}{_where(exc)}{'' if text == name else f': {text}'}"


def _where(exc: BaseException) -> str:
    """Position in the user's code that raised an exception, ' at nets.py:12'; a library's where there is none."""
    foreign = [found for found in _frames(exc) if _package(found[0]) not in ("shardline", "torch")]
    users = [found for found in foreign if _is_users(found[0])]
    if not (users or foreign):
        return ""
    frame, line = (users or foreign)[-1]
    return f" at {_short(frame.f_code.co_filename)}:{line}"


def _frames(exc: BaseException) -> list[tuple[FrameType, int]]:
    """Frames of an exception and of those that caused it, the deepest last."""
    found: list[tuple[FrameType, int]] = []
    at: BaseException | None = exc
    while at is not None:
        found = [*traceback.walk_tb(at.__traceback__), *found] if found else list(traceback.walk_tb(at.__traceback__))
        at = at.__cause__ or at.__context__
    return [(frame, line) for frame, line in found if frame.f_code.co_filename.endswith(".py")]


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_users(frame: FrameType) -> bool:
    is_installed = any(folder in frame.f_code.co_filename for folder in _INSTALLED)
    return not is_installed and _package(frame) not in sys.stdlib_module_names


def _short(filename: str) -> str:
    """Path from the working folder where the file lies in it, from the packages' folder where it is installed."""
    for folder in _INSTALLED:
        if folder in filename:
            return filename.rpartition(folder)[2]
    path = Path(filename)
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    # an archive's code is unpacked into a temporary folder, whose name says nothing
    return path.name if path.is_relative_to(tempfile.gettempdir()) else filename


def _rest(exc: BaseException, log: str = "") -> str:
    """Write what one line does not hold into a file: '; all of it is in /tmp/…'."""
    if not log.strip() and " ".join(str(exc).split()) in one_line(exc):
        return ""
    text = f"{log}\n{''.join(traceback.format_exception(exc))}"
    with suppress(OSError):
        with tempfile.NamedTemporaryFile("w", prefix="shardline-error-", suffix=".txt", delete=False) as file:
            file.write(text)
        return f"; all of it is in {file.name}"
    return ""


@contextmanager
def _stdout_as_stderr() -> Iterator[None]:
    """Write to stderr what the block writes to stdout, in Python or in C."""
    sys.stdout.flush()
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # the process has no stdout
        kept = None
    try:
        if kept is not None:
            os.dup2(_STDERR, _STDOUT)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, _STDOUT)
            os.close(kept)
