"""Options of every command that talks to a bucket: credentials, and patience with broken connections."""

from pathlib import Path
from typing import Annotated

from shardline.options.group import option, takes_options
from shardline.storage.store import Access
from shardline.wire.errors import UsageError

_PANEL = "Bucket"


def _bucket_options(
    key_file: Annotated[
        Path | None,
        option(
            "--key-file",
            help="JSON key file of a Google service account (default: Application Default Credentials)",
            panel=_PANEL,
        ),
    ] = None,
    anonymous: Annotated[
        bool, option("--anonymous", help="Send no credentials; enough for a public bucket", panel=_PANEL)
    ] = False,
    retry_for: Annotated[
        float,
        option("--retry-for", min=0, help="Seconds for which a broken connection is retried", panel=_PANEL),
    ] = 60.0,
) -> Access:
    if key_file is not None and anonymous:
        raise UsageError("--key-file and --anonymous exclude each other: leave one of them out")
    return Access(key_file=key_file, anonymous=anonymous, retry_s=retry_for)


takes_bucket_options = takes_options("access", _bucket_options)
