"""Attacks of one client with 100 connections: `python -m benchmarks.attack [--only TEXT] [--seconds 8]`.

What: each kind of attack on the router, the transformer and a stage of a chain of three stages, and on the transformer
of a chain of one stage. Meanwhile one good client sends small requests to the same server, each on a connection of its
own, and again as soon as it has its reply.

Why: one unauthenticated client must neither exhaust a server's memory nor stop the others.

Ceiling: the memory limit of the server's pod, less what it takes idle, and 1 s between two right replies to the good
client. The row `none` has no attack: it shows what the machine and its other programs do.

The last line is one JSON object.
"""

import http.client
import json
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

from benchmarks.attack.client import ATTACKS, HOST
from benchmarks.bundles import ROOT, ensure
from benchmarks.chaos.__main__ import SPEC
from benchmarks.chaos.chain import ChaosChain
from benchmarks.chaos.faults import Victim
from benchmarks.chaos.replies import check_pictures
from benchmarks.processes import UnavailableError, ending_all
from shardline.manifests.sizing import router_compute, stage_compute, transformer_compute
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import ShardlineError
from shardline.wire.limits import MIB

SERVERS = ("router", "transformer", "stage 1", "K=1")
NONE = "none"
_WARM = 40  # requests before memory counts as idle
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackResult:
    """Memory and waits of one attack on one server.

    Attributes:
        idle_mib: resident memory before the first attack.
        beyond_mib: peak of the resident memory during the attack, beyond `idle_mib`.
        budget_mib: the limit of its pod, less `idle_mib`.
        longest_s: longest time between two right replies to the good client.
        good: right replies to the good client.
        refused: its requests that were answered 503, or not answered.
    """

    server: str
    kind: str
    idle_mib: int
    beyond_mib: int
    budget_mib: int
    longest_s: float
    good: int
    refused: int
    sent_mib: int


class GoodClient:
    """A client that sends one request after the other and measures the times between right replies."""

    def __init__(self, server: Victim, body: bytes) -> None:
        self._server = server
        self._body = body
        self._stop = Event()
        self._thread = Thread(target=self._run)
        self.good = self.refused = 0
        self.longest_s = 0.0

    def __enter__(self) -> "GoodClient":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            if is_right(self._server, self._body):
                self.good += 1
                now = time.monotonic()
                self.longest_s, last = max(self.longest_s, now - last), now
            else:
                self.refused += 1
                time.sleep(0.02)
        self.longest_s = max(self.longest_s, time.monotonic() - last)


def is_right(server: Victim, body: bytes) -> bool:
    """Send one request on a new connection; True where the reply is a 200."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=_TIMEOUT_S)
    with suppress(OSError, http.client.HTTPException):
        try:
            connection.request("POST", server.path, body)
            response = connection.getresponse()
            response.read()
            return response.status == 200
        finally:
            connection.close()
    return False


@contextmanager
def running(bundle: Path, folder: Path) -> Iterator[ChaosChain]:
    """Run the chain of a bundle with the deadlines that `render` writes."""
    chain = ChaosChain(bundle, folder, short=False)
    try:
        chain.start()
        yield chain
    finally:
        chain.stop()


def measure(chain: ChaosChain, bundle: Path, servers: Sequence[str], options: Namespace) -> list[AttackResult]:
    """Run each chosen attack on each of the servers, which are named as in the report."""
    results = []
    limits = _limits_mib(bundle)
    picture = check_pictures(chain.bundle, 0)[0].data
    victims = {server: chain.victims()["transformer" if server == "K=1" else server] for server in servers}
    for server, victim in victims.items():
        for _ in range(_WARM):
            if not is_right(victim, victim.body or picture):
                raise UnavailableError(f"{server} does not answer a good request")
    idles = {server: _rss_mib(victim) for server, victim in victims.items()}  # of all, before any attack
    for server, victim in victims.items():
        body, idle = victim.body or picture, idles[server]
        for kind in (NONE, *ATTACKS):
            if options.only in f"{server}, {kind}":
                blank = AttackResult(
                    server=server, kind=kind, idle_mib=idle, beyond_mib=0, budget_mib=limits[server.split()[0]] - idle,
                    longest_s=0, good=0, refused=0, sent_mib=0,
                )  # fmt: skip
                results.append(_attack(blank, victim, body, options))
                print(row(results[-1]), flush=True)
    return results


def _limits_mib(bundle: Path) -> dict[str, int]:
    read = open_bundle(bundle)
    transformer = transformer_compute(read).memory_limit_mib
    return {
        "router": router_compute(read).memory_limit_mib,
        "transformer": transformer,
        "K=1": transformer,
        "stage": stage_compute(read, read.stages[0]).memory_limit_mib,
    }


def _attack(blank: AttackResult, victim: Victim, body: bytes, options: Namespace) -> AttackResult:
    _reset_peak(victim)
    with TemporaryDirectory() as folder, GoodClient(victim, body) as client:
        good = Path(folder) / "good"
        good.write_bytes(body)
        sent = 0
        if blank.kind == NONE:
            time.sleep(options.seconds)
        else:
            command = [sys.executable, "-m", "benchmarks.attack.client", blank.kind, str(victim.port), victim.path]
            command += [f"--good={good}", f"--seconds={options.seconds}", f"--connections={options.connections}"]
            done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
            sent = json.loads(done.stdout)["sent_bytes"]
    return replace(
        blank,
        beyond_mib=max(0, _peak_mib(victim) - blank.idle_mib),
        longest_s=round(client.longest_s, 2),
        good=client.good,
        refused=client.refused,
        sent_mib=sent // MIB,
    )


def _rss_mib(victim: Victim) -> int:
    return int(victim.process.memory_info().rss) // MIB


def _reset_peak(victim: Victim) -> None:
    Path(f"/proc/{victim.process.pid}/clear_refs").write_text("5")  # linux: proc(5)


def _peak_mib(victim: Victim) -> int:
    lines = Path(f"/proc/{victim.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:"))


def row(result: AttackResult) -> str:
    """Write a row of the table in Markdown."""
    waits = f"{result.longest_s:.2f} | {result.good} | {result.refused}"
    memory = f"{result.beyond_mib} | {result.budget_mib}"
    return f"| {result.server} | {result.kind} | {result.sent_mib} | {memory} | {waits} |"


HEAD = """| server | attack | MiB sent | MiB beyond idle, peak | budget | longest wait in s | right | refused |
|---|---|---|---|---|---|---|---|"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code is 1 where a server took more than its budget."""
    parser = ArgumentParser(prog="python -m benchmarks.attack", description="Attack each server by one client.")
    add = parser.add_argument
    add("--only", default="", help="Run only attacks whose name contains this text, e.g. 'router, big-json'")
    add("--seconds", type=float, default=8, help="Duration of each attack in seconds (default: %(default)s)")
    add("--connections", type=int, default=100, help="Number of connections (default: %(default)s)")
    options = parser.parse_args(arguments)
    results: list[AttackResult] = []
    with ending_all(), TemporaryDirectory(prefix="attack-") as folder:
        try:
            print(HEAD, flush=True)
            for stages, servers in ((3, SERVERS[:3]), (1, SERVERS[3:])):
                if chosen := [
                    server for server in servers if options.only.startswith(server) or "," not in options.only
                ]:
                    bundle = ensure(replace(SPEC, stages=stages), lambda text: print(text, file=sys.stderr, flush=True))
                    with running(bundle, Path(folder) / str(stages)) as chain:
                        results += measure(chain, bundle, chosen, options)
        except (UnavailableError, ShardlineError) as exc:
            print(f"error: {exc}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    over = [f"{result.server}, {result.kind}" for result in results if result.beyond_mib > result.budget_mib]
    print(json.dumps({"benchmark": "attack", "results": [asdict(result) for result in results], "over": over}))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
