"""Which of the client's headers go on to the steps: KServe's `PROPAGATE_HEADERS` (cmd/router/main.go callService).

The patterns are Go regular expressions, separated by commas, matched anywhere in a header's canonical name
(`X-Request-Id`). Python's syntax is a little wider; what only Python knows is skipped as Go skips it.
"""

import logging
import re
from collections.abc import Iterable, Sequence

logger = logging.getLogger(__name__)

# Look-around, back-references and atomic groups: RE2, which is Go's, has none of them.
_ONLY_PYTHON = re.compile(r"\(\?(=|!|<=|<!|>|P=|\()|\\[1-9]")
# The rules of one connection; Go's client writes its own, whatever it is given (net/http reqWriteExcludeHeader).
_OF_ONE_HOP = frozenset(
    {"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Headers = list[tuple[str, str]]


def compile_patterns(text: str | None) -> list[re.Pattern[str]]:
    """The value of PROPAGATE_HEADERS -> patterns. Invalid ones are logged and skipped.

    None, the variable unset, is no pattern. The empty text is one empty pattern, which matches every name, as in Go.
    """
    return [pattern for each in (text.split(",") if text is not None else ()) for pattern in _compiled(each)]


def _compiled(text: str) -> list[re.Pattern[str]]:
    try:
        if _ONLY_PYTHON.search(text):
            raise re.error("invalid or unsupported Perl syntax")
        return [re.compile(text)]
    except re.error as exc:
        logger.warning("PROPAGATE_HEADERS: the pattern %r is skipped: %s", text, exc)
        return []


def propagated(headers: Iterable[tuple[bytes, bytes]], patterns: Sequence[re.Pattern[str]]) -> Headers:
    """The headers of a request to a step, Content-Type among them: the client's if it is propagated, else JSON's."""
    named = [(canonical(name.decode("latin-1")), value.decode("latin-1")) for name, value in headers]
    chosen = [
        (name, value)
        for name, value in named
        if name not in _OF_ONE_HOP and any(pattern.search(name) for pattern in patterns)
    ]
    if not next((value for name, value in chosen if name == "Content-Type"), ""):
        chosen.append(("Content-Type", "application/json"))
    return chosen


def canonical(name: str) -> str:
    """'x-request-ID' -> 'X-Request-Id': Go's CanonicalMIMEHeaderKey."""
    return "-".join(part.capitalize() for part in name.split("-")) if _TOKEN.fullmatch(name) else name
