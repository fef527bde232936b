"""Base and overlays; and that those in the repository are what `render` gives."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from shardline.manifests.options import IMAGE, RenderOptions
from shardline.manifests.placement import Placement, Toleration
from shardline.manifests.render import kustomize_folders, merge_patch, read_described, render, write_kustomize
from shardline.manifests.workloads import read_chain
from shardline.storage.bundle import Bundle
from shardline.wire.errors import ManifestError

COMMITTED = sorted(path.parent for path in (Path(__file__).parents[2] / "manifests").glob("*/bundle.json"))
OPTIONS = RenderOptions(storage="gs://bucket/resnet50")


def files(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        str(path.relative_to(folder)): list(yaml.safe_load_all(path.read_text())) for path in folder.rglob("*.yaml")
    }


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_the_manifests_in_the_repository_are_what_render_gives(folder: Path) -> None:
    """`make manifests` writes them again."""
    digest = hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    storage = f"gs://example-bucket/models/{folder.name}/{digest}"

    assert files(folder) == kustomize_folders(read_described(folder / "bundle.json"), RenderOptions(storage=storage))


def test_base_and_gpu_overlay_are_the_two_renders(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle()
    mig = Placement(gpu_resource="nvidia.com/mig-1g.10gb")

    write_kustomize(bundle, tmp_path, RenderOptions(storage=OPTIONS.storage, placement=mig), command="shardline render")
    written = files(tmp_path)
    base = written["base/resnet50.yaml"]
    runtime, *stages = written["overlays/gpu/stages.yaml"]
    patches = {stage["metadata"]["name"]: stage for stage in stages}

    assert base == render(bundle, OPTIONS)
    assert runtime["kind"] == "ServingRuntime"
    assert sorted(patches) == ["resnet50-0", "resnet50-1", "resnet50-2"]
    on_gpus = render(bundle, RenderOptions(storage=OPTIONS.storage, placement=mig))
    for before, after in zip(base, on_gpus, strict=True):
        spec = patches.get(after["metadata"]["name"], {}).get("spec", {}) if after["kind"] == "InferenceService" else {}
        if after["kind"] == "ServingRuntime":
            [old], [new] = before["spec"]["containers"], after["spec"]["containers"]
            assert merge_patch(old, new) == {"image": IMAGE}
            assert runtime["spec"] == {"containers": [new]}
            continue
        assert merge_patch(before, after) == ({"spec": spec} if spec else {})
        assert set(spec.get("predictor", {})) <= {"deploymentStrategy", "tolerations", "model"}


def test_each_kustomization_names_files_that_are_there(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    write_kustomize(make_bundle(), tmp_path, OPTIONS)

    for path in tmp_path.rglob("kustomization.yaml"):
        document = yaml.safe_load(path.read_text())
        for name in [*document["resources"], *(patch["path"] for patch in document.get("patches", ()))]:
            target = path.parent / name
            assert target.is_file() or (target / "kustomization.yaml").is_file()


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1, "b": {"c": 1}}, {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 2, "d": 3}}),
        ({"a": [1, 2]}, {"a": [2]}, {"a": [2]}),
        ({"a": 1, "b": {"c": 1}}, {"b": {}}, {"a": None, "b": {"c": None}}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": 1}, {"a": 1}),
    ],
)
def test_a_merge_patch_says_only_what_differs(
    before: dict[str, Any], after: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert merge_patch(before, after) == patch


def test_a_taint_that_is_tolerated_anyway_stays_in_the_overlays_list(make_bundle: Callable[..., Bundle]) -> None:
    """A patch replaces a list as a whole."""
    options = RenderOptions(storage=OPTIONS.storage, placement=Placement(tolerations=(Toleration(key="team"),)))

    for patch in kustomize_folders(make_bundle(), options)["overlays/gpu/stages.yaml"][1:]:
        assert [toleration["key"] for toleration in patch["spec"]["predictor"]["tolerations"]] == [
            "team",
            "nvidia.com/gpu",
        ]


def test_up_runs_a_tree_by_its_base_and_says_what_an_overlay_is(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    write_kustomize(make_bundle(), tmp_path, OPTIONS)

    assert read_chain(tmp_path) == read_chain(tmp_path / "base")
    for overlay in ("cpu", "gpu"):
        with pytest.raises(ManifestError, match="is an overlay, which kubectl builds: give its base, or what"):
            read_chain(tmp_path / "overlays" / overlay)
