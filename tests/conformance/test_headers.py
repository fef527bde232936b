"""Headers that reach the steps, and headers that come back."""

from typing import Any

import pytest


def sent_headers(steps: Any, router: Any, propagate: str | None, headers: dict[str, str]) -> dict[str, str]:
    first, second = steps.says(b"{}"), steps.says(b"{}")
    router(first.hard(), second.hard(), propagate=propagate).ask(headers=headers)
    assert first.requests[0].headers["Content-Type"] == second.requests[0].headers["Content-Type"]
    own = {"Host", "User-Agent", "Content-Length", "Accept-Encoding"}
    return {name: value for name, value in second.requests[0].headers.items() if name not in own}


CLIENT = {"Content-Type": "image/jpeg", "x-request-id": "7", "Traceparent": "00-1", "Authorization": "Bearer t"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("propagate", "expected"),
    [
        (None, JSON),
        ("X-Request-Id", JSON | {"X-Request-Id": "7"}),
        ("traceparent", JSON),
        ("(?i)traceparent", JSON | {"Traceparent": "00-1"}),
        ("Auth*,X-.*", JSON | {"Authorization": "Bearer t", "X-Request-Id": "7"}),
        ("Request", JSON | {"X-Request-Id": "7"}),
        ("^Request", JSON),
        ("*Trace-Id*,Traceparent", JSON | {"Traceparent": "00-1"}),
        ("(?=X)X,Traceparent", JSON | {"Traceparent": "00-1"}),
        ("Content-Type", {"Content-Type": "image/jpeg"}),
    ],
)
def test_only_headers_that_match_go_on(
    steps: Any, router: Any, propagate: str | None, expected: dict[str, str]
) -> None:
    """Go's patterns on canonical names: prefixes, anchors, (?i); patterns that RE2 does not support are skipped."""
    assert sent_headers(steps, router, propagate, CLIENT) == expected


def test_an_empty_list_of_patterns_matches_every_header(steps: Any, router: Any) -> None:
    """An empty PROPAGATE_HEADERS is one empty pattern, which matches all names."""
    headers = sent_headers(steps, router, "", {"X-A": "1", "X-B": "2", "Content-Type": "text/plain"})

    assert headers == {"X-A": "1", "X-B": "2", "Content-Type": "text/plain"}


def test_a_steps_own_headers_go_nowhere(steps: Any, router: Any) -> None:
    """Headers of a step's response reach neither the next step nor the client."""
    first, second = steps.says(b"{}", **{"X-Step": "1"}), steps.says(b"{}", **{"Retry-After": "1", "X-Step": "2"})

    response, _ = router(first.hard(), second.hard(), propagate=".*").ask()

    assert "X-Step" not in second.requests[0].headers
    assert response.headers["X-Step"] is None
    assert response.headers["Retry-After"] is None
