"""Options of a bucket become one value."""

from pathlib import Path

from typer import Typer
from typer.testing import CliRunner

from shardline.options.bucket import takes_bucket_options
from shardline.storage.store import Access


def test_options_become_an_access() -> None:
    seen: list[Access] = []
    app = Typer()

    @app.command()
    @takes_bucket_options
    def command(*, access: Access) -> None:
        seen.append(access)

    CliRunner().invoke(app, [], catch_exceptions=False)
    CliRunner().invoke(app, ["--key-file", "key.json", "--retry-for", "3"], catch_exceptions=False)

    assert seen == [Access(retry_s=60.0), Access(key_file=Path("key.json"), retry_s=3.0)]
