"""Fixtures: versions of a chain, and a scripted cluster that runs them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from services.scripted import KubernetesApi, ScriptedServer
from services.versions import Place, Version, bundle_at, services_of, short_digest

from shardline.client.cluster import connect

MakeVersion = Callable[..., Version]
MakePlace = Callable[..., Place]


@pytest.fixture
def make_version(tmp_path: Path) -> Iterator[MakeVersion]:
    """make_version("first", last={"status": 500}): a bundle, and what its stages and its router say instead of what is
    right. Without `golden` it holds no picture.
    """
    with ExitStack() as stack:

        def make(folder: str, *, name: str = "chain", golden: bool = True, **says: dict[str, Any]) -> Version:
            reply = {"predictions": [{"label": folder, "index": 1, "score": 0.5}]}
            bundle = bundle_at(tmp_path / folder, reply if golden else None)
            first, last = (f"POST /v1/models/{service}:predict" for service in services_of(bundle, name))
            pre = f"POST /v1/models/{name}-{short_digest(bundle)}-pre:predict"
            right: dict[str, dict[str, Any]] = {"first": {"text": f"frame of {folder}"}, **says}
            right = {"last": {"json": reply}, "router": {"json": reply}} | right
            server = ScriptedServer(
                {
                    pre: [{"text": f"pixels of {folder}"}],
                    first: [right["first"]],
                    last: [right["last"]],
                    "POST /": [right["router"]],
                }
            )
            stack.callback(server.stop)
            return Version(name, tmp_path / folder, bundle, server)

        yield make


@pytest.fixture
def first(make_version: MakeVersion) -> Version:
    return make_version("first")


@pytest.fixture
def second(make_version: MakeVersion) -> Version:
    return make_version("second")


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[MakePlace]:
    """make_place(first, second, broken={…}): versions that it can run, and kserve_controller's options."""
    with ExitStack() as stack:

        def make(*versions: Version, **options: object) -> Place:
            ports = {version.short: int(version.server.url.rpartition(":")[2]) for version in versions}
            api = KubernetesApi(tmp_path, {"controller": {"ports": ports, **options}})
            stack.callback(api.stop)
            return Place(api, connect(api.kubeconfig))

        yield make


@pytest.fixture
def place(make_place: MakePlace, first: Version, second: Version) -> Place:
    return make_place(first, second)
