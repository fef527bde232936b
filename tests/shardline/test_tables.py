"""The table and the JSON of a bundle's plan."""

import io
from pathlib import Path

from rich.console import Console

from shardline.storage.bundle_folder import open_bundle
from shardline.tables import bundle_dict, bundle_table


def test_one_row_per_stage(small_bundle: Path) -> None:
    bundle = open_bundle(small_bundle)
    text = io.StringIO()
    Console(width=100, file=text).print(bundle_table(bundle))
    rows = [line.split("│")[1:-1] for line in text.getvalue().splitlines() if line.startswith("│")]

    assert [row[0].strip() for row in rows] == ["0", "1", "2"]
    assert [row[1].strip() for row in rows] == ["one", "two", "-"]
    assert rows[-1][-1].strip() == "reply"


def test_json(small_bundle: Path) -> None:
    document = bundle_dict(open_bundle(small_bundle))

    assert [stage["cut"] for stage in document["stages"]] == ["one", "two", None]
    assert document["batch"] == 1
    assert all(stage["weight_bytes"] > 0 for stage in document["stages"])
