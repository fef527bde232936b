"""Plan the processes that run a chain on this machine: command lines, environments and ports.

What KServe's storage initializer and controller add in a cluster is added here. Nothing is started, but ports are held:
Shardline's own servers get a listening socket and open no port, so no other program can come between the check that a
port is free and the server, nor take the port while the server restarts.
"""

import json
import os
import random
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from shardline.manifests.names import MODEL_FOLDER
from shardline.manifests.processes import HOST, Launch
from shardline.manifests.workloads import ChainSpec, Workload, with_urls
from shardline.wire.errors import ManifestError

# Below Linux's range for outgoing connections, which could take a port while its process restarts.
_PORTS = range(20_000, 32_000)
_OUR_SERVERS = "shardline.predictors."  # prefix of the modules that listen on a socket that they are given


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan(AbstractContextManager["LaunchPlan"]):
    """Every process to start; the replicas behind each Service, by the Service's listening socket; the chain's URL."""

    launches: tuple[Launch, ...]
    services: Mapping[socket.socket, tuple[str, ...]]
    url: str

    def __exit__(self, *_: object) -> None:
        """Close all sockets."""
        for listener in (*self.services, *(launch.listener for launch in self.launches)):
            if listener is not None:
                listener.close()


def plan_launches(
    chain: ChainSpec, folder: Path, *, front: socket.socket, router: Path | None, threads: int | None = None
) -> LaunchPlan:
    """Assign a port to every Service and every replica, and an address to every step of the graph.

    Args:
        front: the listening socket of the chain (`hold`), which the plan takes over.
        threads: number of threads of each stage; None takes it from the stage's CPU limit.
    """
    free = _free_ports()
    listeners = {workload.name: next(free) for workload in chain.workloads}
    if chain.graph is None:
        listeners[chain.front(chain.name).name].close()
        listeners[chain.front(chain.name).name] = front
    port = port_of(front)
    ports = {name: port_of(listener) for name, listener in listeners.items()}
    launches: list[Launch] = []
    services: dict[socket.socket, tuple[str, ...]] = {}
    for workload in chain.workloads:
        replicas = _replicas(workload, listeners[workload.name], ports, folder, free, threads)
        launches += replicas
        if len(replicas) > 1:
            services[listeners[workload.name]] = tuple(launch.name for launch in replicas)
    if chain.graph is not None:
        addresses = {service: f"http://{HOST}:{ports[chain.front(service).name]}" for service in chain.model_names}
        launches.append(_router_launch(chain, addresses, folder, front=front, router=router))
    url = f"http://{HOST}:{port}/v1/models/{chain.model_name}:predict"
    return LaunchPlan(launches=tuple(launches), services=services, url=url)


def _replicas(
    workload: Workload,
    listener: socket.socket,
    ports: Mapping[str, int],
    folder: Path,
    free: Iterator[socket.socket],
    threads: int | None,
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
        hop=1 if workload.component == "transformer" else 2,
    )
    several = workload.replicas > 1
    names = [f"{workload.name}#{i}" if several else workload.name for i in range(workload.replicas)]
    return [_listening(replace(single, name=name), next(free) if several else listener) for name in names]


def _listening(launch: Launch, listener: socket.socket) -> Launch:
    """Give a process its port, or its listening socket where it takes one."""
    port = port_of(listener)
    here = replace(launch, port=port, argv=(*_without(launch.argv, "--http_port"), f"--http_port={port}"))
    if any(word.startswith(_OUR_SERVERS) for word in launch.argv):
        return replace(here, listener=listener)
    listener.close()  # it opens the port by itself
    return here


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
    if any(word.startswith(_OUR_SERVERS) for word in words):
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
    return with_our_packages(env)


def with_our_packages(env: dict[str, str]) -> dict[str, str]:
    """Put Shardline on PYTHONPATH: processes start in a folder of the run, where no user's module shadows others."""
    root = str(Path(__file__).absolute().parents[2])  # not resolved: through the link in shardline/
    others = [env["PYTHONPATH"]] if env.get("PYTHONPATH") else []
    return env | {"PYTHONPATH": os.pathsep.join([root, *others])}


def _here(text: str, folder: Path, workload: Workload) -> str:
    return text.replace(MODEL_FOLDER, str(shard_folder(folder, workload)))


def _router_launch(
    chain: ChainSpec, addresses: Mapping[str, str], folder: Path, *, front: socket.socket, router: Path | None
) -> Launch:
    graph = ("--graph-json", json.dumps(with_urls(chain, addresses)))
    port = port_of(front)
    if router is not None:
        front.close()  # it opens the port by itself
    ours = (sys.executable, "-m", "shardline.manifests.router", *graph, f"--port={port}", "--drain-seconds=0")
    return Launch(
        name=f"{chain.name}-router",
        argv=ours if router is None else (str(router.resolve()), *graph),
        env=with_our_packages(dict(os.environ)),
        folder=folder,
        port=port,
        listener=front if router is None else None,
        ready_path="/readyz",
        hop=0,
        deaf=router is not None,  # KServe's sleeps 30 s after SIGTERM (drainSleepDuration)
    )


def shard_folder(folder: Path, workload: Workload) -> Path:
    """Folder that takes the place of /mnt/models; replicas share it."""
    return folder / workload.name


def hold(port: int, host: str = HOST) -> socket.socket:
    """Open a port for a server that is started later: until the socket is closed, no other program gets the port.

    Raises:
        OSError: the port is taken, also on another address of this machine, or this user may not open it.
    """
    with socket.socket() as probe:  # on all interfaces, as KServe's servers listen
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("", port))
        probe.listen(1)
    listener = socket.create_server((host, port))
    listener.setblocking(False)
    return listener


def port_of(listener: socket.socket) -> int:
    """Port of a listening socket."""
    return int(listener.getsockname()[1])


def _free_ports() -> Iterator[socket.socket]:
    """Hold free ports, each once, in random order."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with suppress(OSError):
            yield hold(port)
    raise ManifestError(f"no port between {_PORTS.start} and {_PORTS.stop - 1} is free on this machine")
