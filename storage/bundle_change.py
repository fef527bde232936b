"""A bundle with other files beside its shards: another bundle, put in the first one's place in one step.

What does not change is linked, not copied, where the file system can: the shards of a large model are there once.
"""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from shardline.storage.bundle import Bundle
from shardline.storage.bundle_folder import read_bundle, writing_bundle
from shardline.wire.errors import BundleError


@contextmanager
def changing_bundle(folder: Path, changed: Collection[str]) -> Iterator[tuple[Path, Bundle]]:
    """Write the files `changed`, paths inside the bundle, anew; whatever is written is in bundle.json afterwards.

    Yields a folder that holds all other files of the bundle, and what the bundle was. After the block the bundle at
    `folder` is the new one, with a digest of its own; if it fails, the old one is as it was.

    Raises:
        BundleError: not a bundle, one that is altered, or one that somebody else changed meanwhile.
    """
    before = read_bundle(folder)
    with writing_bundle(folder) as (draft, seal):
        for path in before.files.keys() - set(changed):
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            _link(folder / path, draft / path)
        yield draft, before
        seal(before)
        if read_bundle(folder).digest != before.digest:
            raise BundleError(f"{folder} was changed by somebody else meanwhile: try again")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
