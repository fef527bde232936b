"""A rendered chain -> the processes that `up` starts: what is added, and what only a cluster needs is left out."""

from collections.abc import Callable
from pathlib import Path

from shardline.manifests.launches import hold, plan_launches
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import write_chain
from shardline.manifests.scaling import Scaling
from shardline.manifests.workloads import read_chain
from shardline.storage.bundle import Bundle


def test_what_is_rendered_is_what_is_started(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    options = RenderOptions(transformer_as="component", storage="gs://b/m", versioned=True, scaling=Scaling(replicas=2))
    chain = read_chain(write_chain(make_bundle(stages=2), tmp_path, options))

    with plan_launches(chain, tmp_path, front=hold(0), router=None) as plan:
        assert all(launch.listener is not None for launch in plan.launches)
    argv = {launch.name.partition("#")[0].split("-", 2)[-1]: launch.argv for launch in plan.launches}

    assert {launch.env["OMP_WAIT_POLICY"] for launch in plan.launches if "router" not in launch.name} == {"PASSIVE"}
    assert len(plan.launches) == 7  # twice two stages and the transformer, and the router
    assert set(argv) == {"0", "0-transformer", "1", "router"}
    assert f"--model_dir={tmp_path / chain.workloads[0].name}" in argv["0"]
    assert any(word.startswith("--predictor_host=127.0.0.1:") for word in argv["0-transformer"])
    for words in argv.values():
        assert not [word for word in words if word.startswith("--drain_seconds") or "/mnt/models" in word]
    assert all("--host=127.0.0.1" in words for name, words in argv.items() if name != "router")


def test_a_stage_has_the_threads_of_its_cpu_limit_unless_told_otherwise(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    chain = read_chain(write_chain(make_bundle(stages=2, threads=3), tmp_path, RenderOptions(storage="gs://b/m")))

    def threads(asked: int | None) -> list[str]:
        with plan_launches(chain, tmp_path, front=hold(0), router=None, threads=asked) as plan:
            return [launch.env["OMP_NUM_THREADS"] for launch in plan.launches if "router" not in launch.name]

    assert threads(None) == ["1", "3", "3"]  # the transformer, and two stages
    assert threads(2) == ["1", "2", "2"]


def test_a_port_of_all_addresses() -> None:
    with hold(0) as local, hold(0, "0.0.0.0") as public:
        assert [listener.getsockname()[0] for listener in (local, public)] == ["127.0.0.1", "0.0.0.0"]
