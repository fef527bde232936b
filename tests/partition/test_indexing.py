"""An index becomes part of its bundle: what it holds, what changes, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.retrieval import WIDTH, index_folder, pictures, prove, random_pixels

from shardline.partition.indexing import PictureBatch, add_to_index, build_index
from shardline.partition.lookup import index_of
from shardline.partition.verify import LocalChain, verify
from shardline.storage.bundle_folder import open_bundle
from shardline.tasks.faiss_index import open_index
from shardline.tasks.index import ENTRIES_FILE
from shardline.tasks.request import Request
from shardline.tasks.retrieve import reply as reply_to
from shardline.wire.errors import BundleError


def nearest(request: Request) -> dict[str, Any]:
    [found] = reply_to(request)
    assert isinstance(found, dict)
    return found


def test_the_index_holds_what_the_chain_gives(bundle: Path) -> None:
    made = build_index(bundle, pictures(20), prove, metric="l2")

    described = open_bundle(bundle)
    index = index_of(index_folder(bundle), described, described.stages[-1])
    assert index is not None
    asked = random_pixels(20)[13:14]
    found = nearest(Request(outputs=LocalChain(bundle).run_stages(asked)[-1], parameters={"k": 3}, index=index))
    assert (found["ids"][0], found["labels"][0]) == ("0/13", "odd")
    assert found["dist"][0] == pytest.approx(0, abs=1e-4)
    assert (made.digest, made.recall) == (described.digest, None)
    assert (index.entries.kind, index.entries.width, len(index.entries.ids)) == ("flat", WIDTH, 20)


def test_an_index_makes_another_bundle_of_the_same_shards(bundle: Path) -> None:
    before = open_bundle(bundle)

    build_index(bundle, pictures(20), prove)

    after = open_bundle(bundle)
    new = {"stages/1/index.faiss", "stages/1/index.json", "golden.png", "golden.json"}
    assert after.digest != before.digest
    assert after.files.keys() - before.files.keys() == new
    assert {path: after.files[path] for path in before.files} == before.files
    assert after.stages == before.stages


def test_the_golden_reply_is_about_the_first_picture(bundle: Path) -> None:
    build_index(bundle, pictures(20), prove)

    [said] = json.loads((bundle / "golden.json").read_text())["predictions"]

    assert said["ids"][0] == "0/0"
    assert said["dist"][0] == pytest.approx(0, abs=1e-5)


def test_made_again_of_the_same_it_is_the_same_bundle(bundle: Path) -> None:
    first = build_index(bundle, pictures(20), prove)
    other = build_index(bundle, pictures(20, seed=1), prove)
    again = build_index(bundle, pictures(20, at_once=20), prove)

    assert first.digest == again.digest != other.digest


def test_more_is_added(bundle: Path) -> None:
    build_index(bundle, pictures(20), prove)

    made = add_to_index(bundle, pictures(5, seed=1), prove)

    index = open_index(index_folder(bundle), WIDTH)
    found = nearest(Request(outputs=LocalChain(bundle).run_stages(random_pixels(5, 1)[2:3])[-1], index=index))
    assert found["ids"][0] == "1/2"
    assert (len(index.entries.ids), made.digest) == (25, open_bundle(bundle).digest)
    with pytest.raises(BundleError, match="5 pictures would be in the index twice, the first is '1/0'"):
        add_to_index(bundle, pictures(5, seed=1), prove)


def test_a_quick_index_says_how_much_it_finds(bundle: Path) -> None:
    made = build_index(bundle, pictures(200, at_once=64), prove, kind="ivf")

    assert made.recall is not None
    assert made.recall >= 0.99
    assert 1 <= made.entries.effort <= 5


def test_verify_compares_embeddings(bundle: Path) -> None:
    build_index(bundle, pictures(20), prove)
    report = verify(bundle, [random_pixels(1)])

    assert (report.passed, report.top1_agreement, report.task) == (True, None, "retrieve")


def test_an_altered_index_is_an_altered_bundle(bundle: Path) -> None:
    build_index(bundle, pictures(20), prove)
    path = index_folder(bundle) / ENTRIES_FILE
    path.write_text(path.read_text().replace("odd", "add"))

    with pytest.raises(BundleError, match=r"stages/1/index\.json has sha256"):
        open_bundle(bundle)


def test_a_bundle_of_another_task_takes_no_index(small_bundle: Path) -> None:
    with pytest.raises(
        BundleError, match="is for the task classify, which has no index: build it with --task retrieve"
    ):
        build_index(small_bundle, pictures(3), prove)


def test_no_picture(bundle: Path) -> None:
    with pytest.raises(BundleError, match="no picture to build an index from"):
        build_index(bundle, iter(()), prove)


def test_what_fails_leaves_the_bundle_as_it_was(bundle: Path) -> None:
    before = open_bundle(bundle)

    with pytest.raises(BundleError, match="twice"):
        build_index(bundle, [*pictures(3), *pictures(3)], prove)
    assert open_bundle(bundle) == before
    assert [path.name for path in bundle.parent.iterdir()] == ["likeness"]


def test_two_at_a_time_do_not_lose_each_other_s(bundle: Path) -> None:
    def meanwhile() -> Iterator[PictureBatch]:
        build_index(bundle, pictures(4, seed=3), prove)
        yield from pictures(3)

    with pytest.raises(BundleError, match="changed by another process meanwhile"):
        build_index(bundle, meanwhile(), prove)

    assert len(open_index(index_folder(bundle), WIDTH).entries.ids) == 4
