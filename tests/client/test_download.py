"""Downloads of pictures: redirects, limits, and no credentials."""

from pathlib import Path
from typing import Any

import pytest

from shardline.client.download import PictureURL, is_url
from shardline.wire.errors import FileError


def test_redirects_are_followed_without_credentials(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even those of a .netrc file, which requests would send by itself."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    moved = {"status": 302, "headers": {"Location": "/b.jpg"}, "text": ""}
    server = serve({"GET /a.jpg": [moved], "GET /b.jpg": [{"text": "picture"}]})

    assert PictureURL(url=f"{server.url}/a.jpg").download(10) == b"picture"
    seen = server.requests()
    assert [request.path for request in seen] == ["/a.jpg", "/b.jpg"]
    assert not any("Authorization" in request.headers for request in seen)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({"status": 404, "json": {}}, "the server answers 404 Not Found"),
        ({"text": "x" * 100, "repeat": 11}, r"larger than 0.0 MiB: download it yourself"),
        ({"status": 302, "headers": {"Location": "file:///etc/hosts"}, "text": ""}, "not http or https"),
        ({"status": 302, "headers": {"Location": "/a.jpg"}, "text": ""}, "more than 5 redirects"),
        ({"hang": True}, "not downloaded within 0.5 s: raise --timeout"),
        ({"drop": True}, "cannot be downloaded"),
    ],
)
def test_a_picture_that_cannot_be_downloaded(serve: Any, reply: dict[str, Any], message: str) -> None:
    server = serve({"GET /a.jpg": [reply]})

    with pytest.raises(FileError, match=message):
        PictureURL(url=f"{server.url}/a.jpg").download(0.5, limit_bytes=1000)


def test_a_server_that_is_away() -> None:
    with pytest.raises(FileError, match=r"cannot be downloaded \(Connection refused"):
        PictureURL(url="http://127.0.0.1:1/a.jpg").download(5)


def test_urls_are_recognised() -> None:
    assert [is_url(text) for text in ("https://x/a.jpg", "HTTP://x", "photos/a.jpg", "ftp://x")] == [
        True,
        True,
        False,
        False,
    ]
    assert PictureURL(url="https://x/a%20b.jpg?c=d.png").stem == "a b"
