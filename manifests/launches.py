"""Plan the processes that run a chain on this machine: command lines, environments and ports.

What KServe's storage initializer and controller add in a cluster is added here. Nothing is started.
"""

import json
import os
import random
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from shardline.manifests.names import MODEL_FOLDER
from shardline.manifests.processes import HOST, Launch
from shardline.manifests.workloads import ChainSpec, Workload, with_urls
from shardline.wire.errors import ManifestError

# Below Linux's range for outgoing connections, which could take a port while its process restarts.
_PORTS = range(20_000, 32_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """Every process to start; the replicas behind each Service, by the Service's port; the chain's URL."""

    launches: tuple[Launch, ...]
    services: Mapping[int, tuple[str, ...]]
    url: str


def plan_launches(
    chain: ChainSpec, folder: Path, *, port: int, router: Path | None, threads: int | None = None
) -> LaunchPlan:
    """Assign a port to every Service and every replica, and an address to every step of the graph.

    `threads` is the number of threads of each stage; None takes it from the stage's CPU limit.
    """
    free = _free_ports(taken=port)
    ports = {workload.name: next(free) for workload in chain.workloads}
    if chain.graph is None:
        ports[chain.front(chain.name).name] = port
    launches: list[Launch] = []
    services: dict[int, tuple[str, ...]] = {}
    for workload in chain.workloads:
        replicas = _replicas(workload, ports, folder, free, threads)
        launches += replicas
        if len(replicas) > 1:
            services[ports[workload.name]] = tuple(launch.name for launch in replicas)
    if chain.graph is not None:
        addresses = {service: f"http://{HOST}:{ports[chain.front(service).name]}" for service in chain.model_names}
        launches.append(_router_launch(chain, addresses, folder, port=port, router=router))
    url = f"http://{HOST}:{port}/v1/models/{chain.model_name}:predict"
    return LaunchPlan(launches=tuple(launches), services=services, url=url)


def _replicas(
    workload: Workload, ports: Mapping[str, int], folder: Path, free: Iterator[int], threads: int | None
) -> list[Launch]:
    single = Launch(
        name=workload.name,
        argv=_argv(workload, ports, folder),
        env=_env(workload, folder, threads),
        folder=folder,
        port=ports[workload.name],
        ready_path=workload.ready_path,
        ready_period_s=workload.ready_period_s,
        startup_s=workload.startup_s,
        watched=workload.replicas > 1,
    )
    several = workload.replicas > 1
    names = [f"{workload.name}#{i}" if several else workload.name for i in range(workload.replicas)]
    return [_at_port(replace(single, name=name), next(free) if several else single.port) for name in names]


def _at_port(launch: Launch, port: int) -> Launch:
    return replace(launch, port=port, argv=(*_without(launch.argv, "--http_port"), f"--http_port={port}"))


def _argv(workload: Workload, ports: Mapping[str, int], folder: Path) -> tuple[str, ...]:
    """Build the command line of a container, with the arguments that KServe's controller adds where they are absent.

    `--drain_seconds` is left out: there are no endpoints to update here, and Ctrl-C should stop the chain at once.
    """
    words = [_here(word, folder, workload) for word in (*workload.command, *workload.args)]
    words = list(_without(tuple(words), "--drain_seconds"))
    if words[0] in ("python", "python3"):
        words[0] = sys.executable
    if workload.component == "transformer":
        injected = {"--model_name": workload.service, "--predictor_host": f"{HOST}:{ports[workload.service]}"}
        given = {word.partition("=")[0] for word in words}
        words += [f"{flag}={value}" for flag, value in injected.items() if flag not in given]
    if any(word.startswith("shardline.predictors.") for word in words):
        # other machines cannot reach the processes of a chain on this one
        words = [*_without(tuple(words), "--host"), f"--host={HOST}"]
    return tuple(words)


def _without(words: tuple[str, ...], flag: str) -> tuple[str, ...]:
    """Remove an option in either form: `--flag=value` and `--flag value`."""
    kept = []
    rest = iter(words)
    for word in rest:
        if word == flag:
            next(rest, None)
        elif not word.startswith(f"{flag}="):
            kept.append(word)
    return tuple(kept)


def _env(workload: Workload, folder: Path, threads: int | None) -> dict[str, str]:
    env = dict(os.environ)
    env["INFERENCE_SERVICE_NAME"] = workload.service
    if workload.cpus is not None:
        env["OMP_NUM_THREADS"] = str(workload.cpus)
    env |= {name: _here(value, folder, workload) for name, value in workload.env.items()}
    if threads is not None and workload.storage_uri is not None:
        env["OMP_NUM_THREADS"] = str(threads)
    return _with_our_packages(env)


def _with_our_packages(env: dict[str, str]) -> dict[str, str]:
    """Put Shardline on PYTHONPATH: processes start in a folder of the run, where no user's module shadows others."""
    root = str(Path(__file__).absolute().parents[2])  # not resolved: through the link in shardline/
    others = [env["PYTHONPATH"]] if env.get("PYTHONPATH") else []
    return env | {"PYTHONPATH": os.pathsep.join([root, *others])}


def _here(text: str, folder: Path, workload: Workload) -> str:
    return text.replace(MODEL_FOLDER, str(shard_folder(folder, workload)))


def _router_launch(
    chain: ChainSpec, addresses: Mapping[str, str], folder: Path, *, port: int, router: Path | None
) -> Launch:
    graph = ("--graph-json", json.dumps(with_urls(chain, addresses)))
    ours = (sys.executable, "-m", "shardline.manifests.router", *graph, f"--port={port}", "--drain-seconds=0")
    return Launch(
        name=f"{chain.name}-router",
        argv=ours if router is None else (str(router.resolve()), *graph),
        env=_with_our_packages(dict(os.environ)),
        folder=folder,
        port=port,
        ready_path="/readyz",
        deaf=router is not None,  # KServe's sleeps 30 s after SIGTERM (drainSleepDuration)
    )


def shard_folder(folder: Path, workload: Workload) -> Path:
    """Folder that takes the place of /mnt/models; replicas share it."""
    return folder / workload.name


def bind(port: int) -> None:
    """Open and close a port on all interfaces, as KServe's servers do, to check that it is free.

    Raises:
        OSError: the port is taken, or this user may not open it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("", port))
        probe.listen(1)


def _free_ports(*, taken: int) -> Iterator[int]:
    """Yield free ports, each once, in random order."""
    for port in random.sample(_PORTS, len(_PORTS)):
        try:
            if port != taken:
                bind(port)
                yield port
        except OSError:
            continue
    raise ManifestError(f"no port between {_PORTS.start} and {_PORTS.stop - 1} is free on this machine")
