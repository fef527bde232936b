"""`up` as a real process over hand-written documents whose containers run tests/services/manifest_predictor.py."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from services.processes import wait_until

from shardline.manifests.supervise import find_chain

ROOT = Path(__file__).parents[2]
PREDICTOR = ROOT / "tests" / "services" / "manifest_predictor.py"
UP = ROOT / "tests" / "services" / "manifest_up.py"
DEADLINE_S = 20


def runtime(*args: str) -> dict[str, Any]:
    container = {
        "name": "kserve-container",
        "image": "example.test/none",
        "command": ["python", str(PREDICTOR)],
        "args": ["--model_name={{.Name}}", "--model_dir=/mnt/models", "--http_port=8080", *args],
        "env": [{"name": "COLOUR", "value": "red"}],
        "readinessProbe": {"httpGet": {"path": "/v1/models/{{.Name}}", "port": 8080}, "periodSeconds": 1},
    }
    return {"kind": "ServingRuntime", "metadata": {"name": "net"}, "spec": {"containers": [container]}}


def service(name: str, shards: Path, *args: str, replicas: int = 1, transformer: bool = False) -> dict[str, Any]:
    (shards / name).mkdir(parents=True, exist_ok=True)
    (shards / name / "shard.txt").write_text(f"shard of {name}")
    model = {
        "modelFormat": {"name": "x"},
        "runtime": "net",
        "storageUri": f"file://{shards / name}",
        "args": [f"--note=from {name}", *args],
        "env": [{"name": "COLOUR", "value": "blue"}] if name.endswith("1") else [],
        "resources": {"limits": {"cpu": "1500m"}},
    }
    container = {
        "name": "kserve-container",
        "command": ["python", str(PREDICTOR)],
        "args": ["--note=transformer"],
        "readinessProbe": {"httpGet": {"path": f"/v1/models/{name}", "port": 8080}},
    }
    spec: dict[str, Any] = {"predictor": {"minReplicas": replicas, "model": model}}
    if transformer:
        spec["transformer"] = {"minReplicas": replicas, "containers": [container]}
    return {"kind": "InferenceService", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def graph(*services: str) -> dict[str, Any]:
    steps = [{"serviceName": name, "data": "$response", "dependency": "Hard"} for name in services]
    spec = {"nodes": {"root": {"routerType": "Sequence", "steps": steps}}}
    return {"kind": "InferenceGraph", "metadata": {"name": "net"}, "spec": spec}


def three(shards: Path) -> list[dict[str, Any]]:
    names = ("net-0", "net-1", "net-2")
    return [runtime(), *(service(name, shards, transformer=name == "net-0") for name in names), graph(*names)]


@dataclass(slots=True, eq=False)
class Up:
    """A running `up`; `lines` is all that it has printed and that was read: nothing is while `reading` is cleared."""

    port: int
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    reading: threading.Event = field(default_factory=threading.Event)

    def read(self) -> None:
        assert self.process.stdout is not None
        while self.reading.wait() and (line := self.process.stdout.readline()):
            self.lines.append(line)

    def wait(self, condition: Callable[[], bool] | None = None) -> None:
        """Until the condition holds; without one, until it is ready or has ended."""
        known = condition or (lambda: self.says("ready: http"))
        wait_until(lambda: (condition is None and self.process.poll() is not None) or known(), "up", DEADLINE_S)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/models/net:predict"

    def ask(self) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(self.url, data=b"{}", timeout=DEADLINE_S) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def predictions(self) -> list[dict[str, Any]]:
        status, body = self.ask()
        assert status == 200, body
        return list(body["predictions"])

    def says(self, text: str) -> bool:
        return any(text in line for line in self.lines)


StartUp = Callable[..., Up]


@pytest.fixture
def start_up(tmp_path: Path, free_port: Any) -> Iterator[StartUp]:
    """`start_up(documents, port=…, ready=True, router=…, grace_s=5) -> Up`; it runs where nothing of ours lies."""
    started: list[tuple[Up, threading.Thread]] = []

    def start(
        documents: list[dict[str, Any]],
        *,
        port: int = 0,
        ready: bool = True,
        router: str | None = None,
        grace_s: float = 5,
        wait: bool = True,
    ) -> Up:
        path = tmp_path / f"net-{len(started)}.yaml"
        path.write_text(yaml.safe_dump_all(documents))
        port = port or free_port()
        process = subprocess.Popen(
            [sys.executable, str(UP), str(path), str(port), str(grace_s)] + ([router] if router else []),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(_folder(tmp_path / "temporary"))},
        )
        here = Up(port, process)
        here.reading.set()
        reader = threading.Thread(target=here.read)
        reader.start()
        started.append((here, reader))
        if not wait:
            return here
        wait_until(lambda: process.poll() is not None or (ready and here.says("ready: http")), "up", DEADLINE_S)
        if not ready:
            reader.join()
        else:
            assert process.poll() is None, here.lines
        return here

    yield start
    for running, reader in started:
        running.reading.set()
        if running.process.poll() is None:
            running.process.terminate()
        running.process.wait(DEADLINE_S)
        reader.join()
        assert running.process.stdout is not None
        running.process.stdout.close()


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def processes_in(folder: Path) -> list[int]:
    """The pids of all processes that work in `folder` or below: what `up` starts works in its run's folder."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                working = str((entry / "cwd").readlink())
                alive = (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            except OSError:
                continue
            if alive and working.startswith(f"{folder}/"):
                pids.append(int(entry.name))
    return pids


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def processes_below(pid: int) -> list[int]:
    """The pids of a process's children and of theirs."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(below for child in children for below in processes_below(child))]


def open_connections(port: int) -> int:
    """Connections to a port that are established, on the server's side."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_chain_runs_as_the_documents_say(start_up: StartUp, tmp_path: Path) -> None:
    running = start_up(three(tmp_path / "shards"))

    predictions = running.predictions()

    assert [(prediction["name"], prediction["transformer"]) for prediction in predictions] == [
        ("net-0", False),
        ("net-0", True),
        ("net-1", False),
        ("net-2", False),
    ]
    assert [prediction["shard"] for prediction in predictions] == [
        "shard of net-0",
        None,
        "shard of net-1",
        "shard of net-2",
    ]
    assert [prediction["note"] for prediction in predictions] == [
        "from net-0",
        "transformer",
        "from net-1",
        "from net-2",
    ]
    assert [prediction["env"]["COLOUR"] for prediction in predictions] == ["red", None, "blue", "red"]
    assert predictions[2]["env"] == {"COLOUR": "blue", "OMP_NUM_THREADS": "2", "INFERENCE_SERVICE_NAME": "net-1"}
    assert running.says("net-1 | net-1 starts")
    assert running.says("net-0-transformer | net-0 starts")
    assert running.says(f"ready: {running.url}")


def test_documents_of_other_kinds_are_passed_over_in_silence(start_up: StartUp, tmp_path: Path) -> None:
    others = [{"kind": kind, "metadata": {"name": "x"}} for kind in ("Namespace", "HorizontalPodAutoscaler")]

    running = start_up([*others, *three(tmp_path / "shards")])

    assert not running.says("Namespace")
    assert len(running.predictions()) == 4


def test_one_stage_is_asked_at_its_transformer(start_up: StartUp, tmp_path: Path) -> None:
    running = start_up([runtime(), service("net", tmp_path / "shards", transformer=True)])

    assert [prediction["transformer"] for prediction in running.predictions()] == [False, True]
    assert not running.says("router")


def test_replicas_take_turns(start_up: StartUp, tmp_path: Path, wait_until: Any) -> None:
    running = start_up([runtime(), service("net", tmp_path / "shards", replicas=2, transformer=True)])

    pids = [tuple(prediction["pid"] for prediction in running.predictions()) for _ in range(8)]

    assert len({predictor for predictor, _ in pids}) == 2
    assert len({transformer for _, transformer in pids}) == 2
    assert running.says("net#0 | ")
    assert running.says("net-transformer#1 | ")

    os.kill(pids[0][0], signal.SIGKILL)
    wait_until(lambda: running.says("was killed by SIGKILL"))
    assert all(running.ask()[0] == 200 for _ in range(4))
    wait_until(lambda: len({running.predictions()[0]["pid"] for _ in range(4)}) == 2)


def test_a_stage_that_dies_is_named_and_comes_back(start_up: StartUp, tmp_path: Path, wait_until: Any) -> None:
    running = start_up(three(tmp_path / "shards"))
    pid = running.predictions()[2]["pid"]

    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: running.says("net-1 was killed by SIGKILL; starting it again in 0.5 s"))
    status, body = running.ask()

    assert status == 500
    assert body["error"] == "Failed to process request"
    assert "net-1:predict" in body["cause"]
    assert "connection refused" in body["cause"]
    wait_until(lambda: running.ask()[0] == 200)
    assert running.predictions()[2]["pid"] != pid


def test_a_stage_that_cannot_start_again_is_tried_at_longer_intervals(
    start_up: StartUp, tmp_path: Path, wait_until: Any
) -> None:
    flag = tmp_path / "flag"
    running = start_up([runtime(f"--die_if={flag}"), service("net", tmp_path / "shards")])
    flag.touch()

    os.kill(running.predictions()[0]["pid"], signal.SIGKILL)
    wait_until(lambda: running.says("net ended with exit code 1; starting it again in 2 s"))
    flag.unlink()

    wait_until(lambda: running.process.poll() is not None or _answers(running))
    assert running.says("starting it again in 1 s")


def _answers(running: Up) -> bool:
    try:
        return running.ask()[0] == 200
    except OSError:
        return False


@linux
def test_one_that_dies_at_the_start_ends_all_with_its_last_words(start_up: StartUp, tmp_path: Path) -> None:
    documents = three(tmp_path / "shards")
    documents[2] = service("net-1", tmp_path / "shards", "--die=shard.pt2 has the wrong digest")

    ended = start_up(documents, ready=False)

    assert ended.process.returncode == 1
    assert ended.lines[-1] == (
        "error: net-1 ended with exit code 1 before it was ready: shard.pt2 has the wrong digest\n"
    )
    assert processes_in(tmp_path / "temporary") == []
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_taken_port_is_one_line_before_anything_starts(start_up: StartUp, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = start_up(three(tmp_path / "shards"), port=port, ready=False)

    assert ended.lines == [f"error: port {port} cannot be opened (Address already in use): choose another --port\n"]
    assert ended.process.returncode == 1


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing(start_up: StartUp, tmp_path: Path, number: int, wait_until: Any) -> None:
    running = start_up(three(tmp_path / "shards"))
    pids = processes_in(tmp_path / "temporary")
    assert len(pids) == 5

    running.process.send_signal(number)

    assert running.process.wait(DEADLINE_S) == 0
    assert processes_in(tmp_path / "temporary") == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert list((tmp_path / "temporary").iterdir()) == []
    wait_until(lambda: running.says("stopping"))


@linux
def test_a_second_ctrl_c_waits_for_nobody(start_up: StartUp, tmp_path: Path, wait_until: Any) -> None:
    running = start_up([runtime("--stubborn"), service("net", tmp_path / "shards")], grace_s=1000)

    running.process.send_signal(signal.SIGINT)
    wait_until(lambda: running.says("stopping"))
    assert len(processes_in(tmp_path / "temporary")) == 1
    running.process.send_signal(signal.SIGINT)

    assert running.process.wait(DEADLINE_S) == 0
    assert processes_in(tmp_path / "temporary") == []


@linux
def test_after_the_grace_period_the_rest_is_killed(start_up: StartUp, tmp_path: Path) -> None:
    running = start_up([runtime("--stubborn"), service("net", tmp_path / "shards")], grace_s=0.2)

    running.process.terminate()

    assert running.process.wait(DEADLINE_S) == 0
    assert processes_in(tmp_path / "temporary") == []


@linux
def test_nothing_outlives_an_up_that_is_killed(start_up: StartUp, tmp_path: Path, wait_until: Any) -> None:
    running = start_up(three(tmp_path / "shards"))
    assert len(processes_in(tmp_path / "temporary")) == 5

    running.process.kill()

    wait_until(lambda: processes_in(tmp_path / "temporary") == [])
    wait_until(lambda: list((tmp_path / "temporary").iterdir()) == [])


def test_of_two_on_one_port_only_one_is_ready(start_up: StartUp, tmp_path: Path, free_port: Any) -> None:
    port = free_port()
    both = [
        start_up([runtime(f"--note={note}"), service("net", tmp_path / note)], port=port, wait=False)
        for note in ("first", "second")
    ]

    for running in both:
        running.wait()

    ready = [running for running in both if running.says("ready: http")]
    lost = [running for running in both if running not in ready]
    assert len(lost) >= 1
    assert all(running.process.returncode == 1 for running in lost)
    assert all("Address already in use" in running.lines[-1] for running in lost)
    for running in ready:
        assert running.predictions()[0]["pid"] in processes_below(running.process.pid)


def test_the_port_of_a_router_that_restarts_is_not_free(start_up: StartUp, tmp_path: Path, wait_until: Any) -> None:
    running = start_up(three(tmp_path / "shards"))
    [router] = [pid for pid in processes_in(tmp_path / "temporary") if "shardline.manifests.router" in command_of(pid)]

    os.kill(router, signal.SIGKILL)
    wait_until(lambda: running.says("net-router was killed by SIGKILL"))

    for host in ("", "127.0.0.1"):
        with pytest.raises(OSError, match="Address already in use"):
            socket.create_server((host, running.port)).close()
    wait_until(lambda: _answers(running))


@linux
@pytest.mark.parametrize("stopped", [False, True], ids=["unread", "stopped"])
def test_a_chain_goes_on_when_nobody_reads_its_log(start_up: StartUp, tmp_path: Path, stopped: bool) -> None:
    documents = [runtime("--chatty=10000"), service("net", tmp_path / "shards", replicas=2, transformer=True)]
    running = start_up(documents)
    if stopped:
        running.process.send_signal(signal.SIGSTOP)
    else:
        running.reading.clear()

    for _ in range(2):
        assert len(running.predictions()) == 2

    running.process.send_signal(signal.SIGCONT)
    running.reading.set()
    running.wait(lambda: running.says(" lines of the processes' output were dropped"))


@linux
def test_an_up_whose_output_nobody_reads_stops_in_time(start_up: StartUp, tmp_path: Path) -> None:
    running = start_up([runtime("--chatty=10000"), service("net", tmp_path / "shards")])
    running.reading.clear()
    for _ in range(3):
        running.predictions()

    running.process.terminate()

    assert running.process.wait(DEADLINE_S) == 0
    assert processes_in(tmp_path / "temporary") == []


def test_requests_in_flight_are_answered_before_the_chain_stops(start_up: StartUp, tmp_path: Path) -> None:
    names = ("net-0", "net-1", "net-2")
    services = [service(name, tmp_path / "shards", transformer=name == "net-0") for name in names]
    running = start_up([runtime("--pause=0.5"), *services, graph(*names)], grace_s=20)
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(running.ask) for _ in range(4)]
        running.wait(lambda: open_connections(running.port) >= 4)

        running.process.terminate()

        assert [status for status, _ in (request.result() for request in asked)] == [200] * 4
    assert running.process.wait(DEADLINE_S) == 0


def test_kserves_router_has_one_port_only(start_up: StartUp, tmp_path: Path) -> None:
    ended = start_up(three(tmp_path / "shards"), router=sys.executable, ready=False)

    assert ended.lines[-1].startswith("error: KServe's router listens on port 8080 only")


def test_a_router_that_is_no_program_is_refused(start_up: StartUp, tmp_path: Path) -> None:
    ended = start_up(three(tmp_path / "shards"), router="/nowhere/router", ready=False)

    assert ended.lines == [
        "error: /nowhere/router is not a program: give the path of KServe's router binary with --router\n"
    ]


@pytest.mark.skipif(
    not os.environ.get("SHARDLINE_KSERVE_ROUTER"), reason="SHARDLINE_KSERVE_ROUTER names no router of KServe's"
)
def test_kserves_own_router_runs_the_chain(
    kserve_port: int, start_up: StartUp, tmp_path: Path, wait_until: Any
) -> None:
    running = start_up(three(tmp_path / "shards"), port=kserve_port, router=os.environ["SHARDLINE_KSERVE_ROUTER"])

    assert len(running.predictions()) == 4
    os.kill(running.predictions()[3]["pid"], signal.SIGKILL)
    wait_until(lambda: running.says("net-2 was killed by SIGKILL"))
    assert "net-2:predict" in running.ask()[1]["cause"]
    wait_until(lambda: running.ask()[0] == 200)


def test_a_bundle_is_rendered_with_the_defaults(small_bundle: Path) -> None:
    chain = find_chain(small_bundle)

    assert chain == find_chain(small_bundle / "bundle.json")
    assert chain.name == "small"
    assert [workload.name for workload in chain.workloads] == ["small-pre", "small-0", "small-1", "small-2"]
    assert chain.workloads[1].storage_uri == f"{small_bundle.as_uri()}/stages/0"
