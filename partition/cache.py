"""A folder of small JSON documents under names, for what was measured and need not be measured again.

A document is put in place whole or not at all. One that is damaged is as good as none, and said so.
"""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Cache:
    """`folder` is made when something is first put into it."""

    def __init__(self, folder: Path, say: Callable[[str], None] = lambda _: None) -> None:
        self._folder = folder
        self._say = say

    def get(self, name: str) -> dict[str, Any] | None:
        """The document, or None if there is none that can be read."""
        path = self._folder / f"{name}.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            self.damaged(name)
            return None
        return document

    def put(self, name: str, document: dict[str, Any]) -> None:
        """Keep the document; a folder that cannot be written to is told of, and nothing is kept."""
        path = self._folder / f"{name}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as draft:
                json.dump(document, draft)
            Path(draft.name).replace(path)
        except OSError as exc:
            self._say(f"{path} cannot be written ({exc.strerror}): measured again next time")

    def damaged(self, name: str) -> None:
        """Tell of a document that does not hold what it should."""
        self._say(f"{self._folder / name}.json is damaged: measuring anew")


def user_folder() -> Path:
    """Where caches of this user lie: $XDG_CACHE_HOME/shardline, else ~/.cache/shardline."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if Path(given).is_absolute() else Path.home() / ".cache") / "shardline"
