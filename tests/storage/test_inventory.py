"""Inventory: which bundles are listed as whole; garbage collection: which may be deleted."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services.stores import MemoryStore

from shardline.storage.bundle import BUNDLE_FILE, STAGE_FILE, Bundle, publishing_order
from shardline.storage.inventory import Pushed, delete, garbage, inventory, named_digests
from shardline.storage.push import prefix_of, push_to
from shardline.wire.errors import StorageError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def pushed(write: Callable[..., Bundle], tmp_path: Path) -> tuple[MemoryStore, Bundle]:
    store, bundle = MemoryStore(), write(tmp_path / "bundle")
    push_to(store, tmp_path / "bundle", bundle)
    return store, bundle


def pushed_bundle(letter: str, *, name: str = "resnet50", days: float = 2, is_whole: bool = True) -> Pushed:
    return Pushed(name=name, digest=letter * 64, files=(), size_bytes=1, modified=NOW - days * DAY, is_whole=is_whole)


class TestInventory:
    def test_whole(self, pushed: tuple[MemoryStore, Bundle]) -> None:
        store, bundle = pushed

        [found] = inventory(store)
        assert found.path == prefix_of(bundle)
        assert found.is_whole
        assert found.size_bytes == sum(len(store.read(name)) for name in store.names())

    @pytest.mark.parametrize(
        "name",
        ["whole.pt2", "stages/1/shard.pt2", f"stages/0/{STAGE_FILE}", f"stages/0/{BUNDLE_FILE}", BUNDLE_FILE],
    )
    def test_partial_without_any_of_its_files(self, pushed: tuple[MemoryStore, Bundle], name: str) -> None:
        store, bundle = pushed
        store.delete(f"{prefix_of(bundle)}/{name}")

        assert [found.is_whole for found in inventory(store)] == [False]

    @pytest.mark.parametrize(("name", "data"), [("stages/1/shard.pt2", b"longer"), (BUNDLE_FILE, b"{}")])
    def test_partial_with_another_file(self, pushed: tuple[MemoryStore, Bundle], name: str, data: bytes) -> None:
        store, bundle = pushed
        store.write(f"{prefix_of(bundle)}/{name}", data)

        assert [found.is_whole for found in inventory(store)] == [False]

    def test_never_whole_while_it_is_pushed(self, pushed: tuple[MemoryStore, Bundle], tmp_path: Path) -> None:
        """After every single file of a push, in its order."""
        _, bundle = pushed
        store = MemoryStore()
        names = [name for names in publishing_order(bundle) for name in names]

        for name in names:
            assert not any(found.is_whole for found in inventory(store))
            store.put(f"{prefix_of(bundle)}/{name}", tmp_path / "bundle" / name)
        assert [found.is_whole for found in inventory(store)] == [True]

    def test_leaves_other_files_out(self) -> None:
        digest = "0" * 64
        names = ["a", f"resnet50/{digest}", f"Resnet/{digest}/a", f"resnet50/{digest}0/a", f"x/resnet50/{digest}/a"]
        store = MemoryStore(dict.fromkeys(names, b""))

        assert inventory(store) == []


class TestGarbage:
    def test_named_stays_whole_or_not(self) -> None:
        pushed = [
            pushed_bundle("a"),
            pushed_bundle("b"),
            pushed_bundle("c", is_whole=False),
            pushed_bundle("d", is_whole=False),
        ]

        assert garbage(pushed, {"a" * 64, "c" * 64}, older_than=DAY, now=NOW) == [pushed[1], pushed[3]]

    def test_young_stays(self) -> None:
        """A partial push may still be running, and a whole bundle may be waiting for its manifest."""
        pushed = [
            pushed_bundle("a", days=0.9),
            pushed_bundle("b", days=0.9, is_whole=False),
            pushed_bundle("c", days=1, is_whole=False),
        ]

        assert garbage(pushed, (), older_than=DAY, now=NOW) == [pushed[2]]

    def test_newest_of_each_name_stay(self) -> None:
        pushed = [
            pushed_bundle("a", days=5),
            pushed_bundle("b", days=4),
            pushed_bundle("c", days=3),
            pushed_bundle("d", days=2, is_whole=False),
            pushed_bundle("e", days=9, name="vit"),
        ]

        assert garbage(pushed, (), older_than=DAY, newest=2, now=NOW) == [pushed[0], pushed[3]]

    @given(st.data())
    def test_never_what_is_named_or_young(self, data: st.DataObject) -> None:
        letters = data.draw(st.lists(st.sampled_from("abcdef"), unique=True))
        pushed = [
            pushed_bundle(letter, days=data.draw(st.floats(0, 3)), is_whole=data.draw(st.booleans()))
            for letter in letters
        ]
        named = data.draw(st.sets(st.sampled_from("abcdef"))) if pushed else set()

        gone = garbage(pushed, {letter * 64 for letter in named}, older_than=DAY, now=NOW)
        assert {bundle.digest[0] for bundle in gone} == {
            bundle.digest[0] for bundle in pushed if bundle.digest[0] not in named and NOW - bundle.modified >= DAY
        }


class TestDelete:
    def test_is_partial_from_the_first_file_on(self, pushed: tuple[MemoryStore, Bundle]) -> None:
        seen: list[tuple[str, bool]] = []

        class Watched(MemoryStore):
            def delete(self, name: str) -> None:
                super().delete(name)
                seen.append((name, any(found.is_whole for found in inventory(self))))

        store = Watched({name: pushed[0].read(name) for name in pushed[0].names()})
        delete(store, inventory(store)[0])

        assert store.names() == []
        assert not any(is_whole for _, is_whole in seen)
        names = [name.removeprefix(f"{prefix_of(pushed[1])}/") for name, _ in seen]
        assert names[:3] == [BUNDLE_FILE, f"stages/0/{BUNDLE_FILE}", f"stages/1/{BUNDLE_FILE}"]

    def test_others_stay(
        self, pushed: tuple[MemoryStore, Bundle], write: Callable[..., Bundle], tmp_path: Path
    ) -> None:
        store, _ = pushed
        other = write(tmp_path / "other", "b")
        push_to(store, tmp_path / "other", other)
        [gone] = [found for found in inventory(store) if found.path != prefix_of(other)]

        delete(store, gone)
        assert [(found.path, found.is_whole) for found in inventory(store)] == [(prefix_of(other), True)]


class TestNamedDigests:
    def test_wherever_they_stand(self, tmp_path: Path) -> None:
        """Overlays, patches, lists, templates and comments count."""
        (tmp_path / "overlays/gpu").mkdir(parents=True)
        (tmp_path / "base.yaml").write_text(f"storageUri: gs://m/resnet50/{'a' * 64}/stages/0\n")
        (tmp_path / "overlays/gpu/patch.json").write_text(f'[{{"value": "sha256:{"b" * 64}"}}]')
        (tmp_path / "overlays/template.tpl").write_text(f"# {{{{ broken yaml {'c' * 64}\n")
        (tmp_path / "no-digest.yaml").write_text(f"{'d' * 63} {'e' * 65}")

        assert named_digests([tmp_path]) == {"a" * 64, "b" * 64, "c" * 64}
        assert named_digests([tmp_path / "base.yaml", tmp_path / "overlays/gpu"]) == {"a" * 64, "b" * 64}
        assert named_digests([]) == set()

    def test_a_path_that_names_none(self, tmp_path: Path) -> None:
        """If it were accepted, every bundle would be deleted."""
        (tmp_path / "a.yaml").write_text("a" * 64)
        (tmp_path / "b.yaml").write_text("kind: Service")

        with pytest.raises(StorageError, match=re.escape(f"{tmp_path / 'b.yaml'} names no bundle")):
            named_digests([tmp_path / "a.yaml", tmp_path / "b.yaml"])

    def test_no_such_path(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="cannot be read"):
            named_digests([tmp_path / "none"])
