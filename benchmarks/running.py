"""How every benchmark with processes of its own runs: in a folder that goes, leaving nobody behind, JSON at the end."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.errors import UnavailableError, WrongReplyError
from benchmarks.processes import ending_all
from shardline.wire.errors import ShardlineError


def run_benchmark(measure: Callable[[Path], Mapping[str, object]]) -> int:
    """Measure in a temporary folder and print what comes of it as the last line; -> the exit code.

    130 after Ctrl-C or SIGTERM, 1 with one line where something is missing or answers wrong.
    """
    with ending_all(), TemporaryDirectory(prefix="bench-") as folder:
        try:
            document = measure(Path(folder))
        except (UnavailableError, WrongReplyError, ShardlineError) as exc:
            print(f"error: {exc}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130
    print(json.dumps(document))
    return 0
