"""Faults in a running chain, each reply checked: `python -m benchmarks.chaos [--minutes 15] [--only TEXT]`.

What: a chain of three small stages, a transformer and the local router run under `shardline up`. Each trial hits one
process with one fault while it starts, while the chain is idle, or under load, and then waits until the chain replies
right again. Every request is logged, and every reply is compared to the bit with the whole model's.

Why: a distributed chain fails in parts. Allowed are right replies, and errors that name a server within the deadline.

Ceiling: no wrong reply, no request past its deadline, no error without a name, and no process or file left behind.

Trials follow from the seed. A run that is started again with the same --out goes on behind its last trial. The last
line is one JSON object.
"""

import asyncio
import json
import random
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import get_args

import psutil

from benchmarks.bundles import ROOT, BundleSpec, ensure
from benchmarks.chaos.chain import DEADLINE_S, STEP_S, SUPERVISOR, UP, ChaosChain
from benchmarks.chaos.faults import FAULTS, Fault, Phase, Victim
from benchmarks.chaos.replies import FAULTY, CheckedClients, Verdict, check_pictures
from benchmarks.processes import UnavailableError, ending_all
from shardline.wire.errors import ShardlineError

ABOVE = (UP, SUPERVISOR)  # the chain ends with them
ROLES = (*ABOVE, "router", "transformer", "stage 0", "stage 1", "stage 2")
SPEC = BundleSpec(model="squeezenet1_1", stages=3, size=64, batch=1)
_CLIENTS = 4
_RECOVERY_S = 90.0
_RIGHT_AGAIN = 3  # right replies, one behind the other
_POLL_S = 0.02
_ENDING_S = 30.0
_CLEARED_S = 120.0  # the folder of a supervisor that was killed is removed by a later one, after a minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One fault of one process in one phase."""

    role: str
    phase: Phase
    fault: Fault

    @property
    def name(self) -> str:
        return f"{self.role}, {self.phase}, {self.fault.name}"

    @property
    def away(self) -> bool:
        """True where the router may be unable to reply."""
        return self.role == "router" or (self.role in ABOVE and not self.fault.lasts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """Verdicts of a trial's requests, what it left behind, and seconds until right replies came again.

    They count from the fault, or, where it lasted, from its end.
    """

    trial: str
    fault: str
    counts: Mapping[Verdict, int]
    recovery_s: float | None
    leaked: Sequence[str] = ()


def trials(seed: int, only: str, roles: Sequence[str] = ROLES) -> list[Trial]:
    """Return all trials whose name contains `only`, in the order of the seed."""
    found = [
        Trial(role=role, phase=phase, fault=fault)
        for role in roles
        for phase in get_args(Phase)
        for fault in FAULTS
        if (role in ABOVE and fault.for_up and phase != "start")
        or (role not in ABOVE and (role.startswith("stage") or not fault.for_files))
    ]
    random.Random(seed).shuffle(found)
    return [trial for trial in found if only in trial.name]


async def run(chain: ChaosChain, clients: CheckedClients, plan: Sequence[Trial], options: Namespace) -> int:
    """Run the trials, append each result to the file of results, then send requests until there are enough.

    Returns the number of trials for which there was no time.
    """
    end = time.monotonic() + 60 * options.minutes
    rng = random.Random(options.seed)
    left = len(plan)
    await _start(chain, clients)
    for trial in plan:
        if time.monotonic() > end:
            break
        left -= 1
        result = await _run_trial(chain, clients, trial, rng)
        with (options.out / "trials.jsonl").open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")
        _say(result)
        if result.recovery_s is None:
            await _restart(chain, clients)
    clients.trial = "no fault"
    async with _loaded(clients, _CLIENTS):
        while clients.total["right"] < options.requests and time.monotonic() < end:
            await asyncio.sleep(_POLL_S)
    return left


async def _start(chain: ChaosChain, clients: CheckedClients) -> None:
    await asyncio.to_thread(chain.start)
    clients.url, clients.names = chain.url, chain.names()


async def _restart(chain: ChaosChain, clients: CheckedClients) -> None:
    await asyncio.to_thread(chain.stop)
    await _start(chain, clients)


async def _run_trial(chain: ChaosChain, clients: CheckedClients, trial: Trial, rng: random.Random) -> TrialResult:
    clients.trial = trial.name
    clients.router_away = trial.away
    await _all_there(chain)
    before = [name for name in chain.folders_left() if chain.is_unused(name)]
    async with _loaded(clients, _CLIENTS if trial.phase == "load" else 0):
        if trial.phase == "load":
            await asyncio.sleep(rng.uniform(0.2, 0.5))
        victim = await _victim(chain, trial, rng)
        start = time.monotonic()
        async with trial.fault.apply(victim, trial.phase):
            if trial.fault.lasts:
                await _hold(trial, clients, rng)
                start = time.monotonic()
            else:
                await _until_gone(victim)
        leaked: list[str] = []
        if trial.role in ABOVE and not trial.fault.lasts:
            killed = trial.role == SUPERVISOR and trial.fault.name == "SIGKILL"
            leaked = await _start_again(chain, clients, chain.folders_left() if killed else before)
        recovery_s = await _recovery(clients, start)
        clients.router_away = False
        if recovery_s is not None:
            await _all_there(chain)
            await asyncio.sleep(0.3 if trial.phase == "load" else 0)
    return TrialResult(
        trial=trial.name,
        fault=trial.fault.name,
        counts=dict(clients.take_counts()),
        recovery_s=recovery_s,
        leaked=leaked,
    )


async def _victim(chain: ChaosChain, trial: Trial, rng: random.Random) -> Victim:
    """Find the trial's process; in the phase `start`, end it first and wait until it starts again."""
    victim = chain.victims()[trial.role]
    if trial.phase != "start":
        return victim
    victim.process.kill()
    before = victim.process.pid
    victim = await _until_there(chain, trial.role, before)
    await asyncio.sleep(rng.uniform(0, 1.5))
    return victim


async def _until_there(chain: ChaosChain, role: str, before: int = 0) -> Victim:
    give_up_at = time.monotonic() + _RECOVERY_S
    while time.monotonic() < give_up_at:
        victim = chain.victims().get(role)
        if victim is not None and victim.process.pid != before:
            return victim
        await asyncio.sleep(_POLL_S)
    raise UnavailableError(f"{role} did not start again within {_RECOVERY_S:g} s")


async def _until_gone(victim: Victim) -> None:
    give_up_at = time.monotonic() + _RECOVERY_S
    while victim.process.is_running() and victim.process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > give_up_at:
            raise UnavailableError(f"{victim.role} did not end within {_RECOVERY_S:g} s")
        await asyncio.sleep(_POLL_S)


async def _all_there(chain: ChaosChain) -> None:
    for role in ROLES:
        if role in chain.roles:
            await _until_there(chain, role)


async def _hold(trial: Trial, clients: CheckedClients, rng: random.Random) -> None:
    """Let the fault last, past the deadline of a step under load, else shortly; where nobody asks, ask once."""
    lasting = trial.fault.silences and trial.phase == "load"
    end = time.monotonic() + (STEP_S + 2 if lasting else rng.uniform(0.5, 2))
    if trial.phase == "idle":
        await clients.send()
    await asyncio.sleep(max(0.0, end - time.monotonic()))


async def _start_again(chain: ChaosChain, clients: CheckedClients, before: Sequence[str]) -> list[str]:
    """After the end of `up`: wait for the end of all its processes, and start the chain again.

    Returns what was left: processes, and folders that are not in `before`.
    """

    def left_now() -> list[str]:
        return [*chain.processes_left(), *(name for name in chain.folders_left() if name not in before)]

    give_up_at = time.monotonic() + _ENDING_S
    while (chain.is_running() or left_now()) and time.monotonic() < give_up_at:
        await asyncio.sleep(_POLL_S)
    left = left_now()
    await _restart(chain, clients)
    return left


async def _recovery(clients: CheckedClients, start: float) -> float | None:
    """Send requests until several replies are right; returns the seconds from `start` to the first of them."""
    right, first = 0, 0.0
    while right < _RIGHT_AGAIN:
        if await clients.send() == "right":
            first = first if right else time.monotonic()
            right += 1
            continue
        right = 0
        if time.monotonic() - start > _RECOVERY_S:
            return None
        await asyncio.sleep(_POLL_S)
    return first - start


@asynccontextmanager
async def _loaded(clients: CheckedClients, count: int) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(clients.keep_sending(stop))
        try:
            yield
        finally:
            stop.set()


def _say(result: TrialResult) -> None:
    recovery = "no recovery" if result.recovery_s is None else f"{result.recovery_s:.2f} s"
    faulty = any(result.counts.get(verdict) for verdict in FAULTY) or result.leaked or result.recovery_s is None
    print(
        f"{'BAD ' if faulty else ''}{result.trial}: {dict(result.counts)}, {recovery} {list(result.leaked)}", flush=True
    )


def table(results: Sequence[TrialResult]) -> str:
    """Write a table in Markdown with a row for each fault."""
    verdicts = get_args(Verdict)
    lines = [
        f"| fault | trials | {' | '.join(verdicts)} | leaked | recovery in s: median, longest |",
        f"|---|{'---|' * (len(verdicts) + 3)}",
    ]
    groups = {fault.name: [result for result in results if result.fault == fault.name] for fault in FAULTS}
    for name, group in [*groups.items(), ("all", list(results))]:
        if group:
            counts = [sum(result.counts.get(verdict, 0) for result in group) for verdict in verdicts]
            times = [result.recovery_s for result in group if result.recovery_s is not None]
            recovery = f"{median(times):.1f}, {max(times):.1f}" if times else "none"
            leaked = sum(len(result.leaked) for result in group)
            lines.append(f"| {name} | {len(group)} | {' | '.join(map(str, counts))} | {leaked} | {recovery} |")
    return "\n".join(lines)


def _read_results(out: Path) -> list[TrialResult]:
    path = out / "trials.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [TrialResult(**json.loads(line)) for line in lines]


async def _main(options: Namespace) -> dict[str, object]:
    bundle = options.bundle or await asyncio.to_thread(ensure, SPEC, lambda text: print(text, flush=True))
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = check_pictures(bundle, options.seed)
    done = {result.trial for result in _read_results(options.out)}
    plan = [trial for trial in trials(options.seed, options.only) if trial.name not in done]
    chain = ChaosChain(bundle, options.out)
    with (options.out / "requests.jsonl").open("a") as log:
        replies = [picture.reply.decode() for picture in pictures]
        log.write(json.dumps({"bundle": chain.digest, "seed": options.seed, "replies": replies}) + "\n")
        async with CheckedClients(pictures, DEADLINE_S, log) as clients:
            try:
                left = await run(chain, clients, plan, options)
            finally:
                await asyncio.to_thread(chain.stop)
    results = _read_results(options.out)
    total = Counter[str](clients.total)
    faulty = sum(total[verdict] for verdict in FAULTY)
    unrecovered = [result.trial for result in results if result.recovery_s is None]
    leaked = [
        *chain.processes_left(),
        *chain.folders_left(_CLEARED_S),
        *(name for result in results for name in result.leaked),
    ]
    print(table(results))
    return {
        "benchmark": "chaos",
        "seed": options.seed,
        "trials": len(results),
        "trials_left": left,
        "verdicts": total,
        "leaked": leaked,
        "unrecovered": unrecovered,
        "good": not (faulty or leaked or unrecovered),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code is 1 where a request or a trial was not as allowed."""
    parser = ArgumentParser(prog="python -m benchmarks.chaos", description="Hit each process of a chain with faults.")
    add = parser.add_argument
    add("--minutes", type=float, default=15, help="Longest time of the trials (default: %(default)s)")
    add("--requests", type=int, default=20_000, help="Least number of right replies, time permitting")
    add("--only", default="", help="Run only trials whose name contains this text, e.g. 'stage 1, load, SIGKILL'")
    add("--seed", type=int, default=0, help="Seed of pictures, order and times (default: %(default)s)")
    add("--bundle", type=Path, help="Folder of a bundle of three stages (default: SqueezeNet at 64 pixels, built once)")
    add("--out", type=Path, default=ROOT / "bundles" / "chaos", help="Folder of logs and results")
    options = parser.parse_args(arguments)
    with ending_all():
        try:
            document = asyncio.run(_main(options))
        except (UnavailableError, ShardlineError) as exc:
            print(f"error: {exc}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130
    print(json.dumps(document))
    return 0 if document["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
