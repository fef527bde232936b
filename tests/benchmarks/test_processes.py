"""Nothing that a benchmark starts outlives it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.processes import ProcessTree, UnavailableError, role

# starts a child, and a grandchild that leaves the session and is nobody's any more
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    print(os.getpid(), flush=True)
    time.sleep(600)
os.wait()
print(child.pid, flush=True)
time.sleep(600)
"""
DEADLINE_S = 60.0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def family(folder: Path) -> tuple[ProcessTree, list[int]]:
    tree = ProcessTree("family", [sys.executable, "-c", FAMILY], folder / "family.log")
    until(lambda: len(tree.printed().split()) == 2)
    return tree, [int(word) for word in tree.printed().split()]


def test_a_tree_is_paused_measured_and_stopped(tmp_path: Path) -> None:
    """The program computes for 50 ms of processor time before it sleeps: several of the kernel's clock ticks."""
    code = "import time\nwhile time.process_time() < 0.05: pass\nprint('here', flush=True)\ntime.sleep(600)"
    tree = ProcessTree("sleeper", [sys.executable, "-c", code], tmp_path / "log")
    tree.wait_until(lambda: "here" in tree.printed(), DEADLINE_S)
    process = psutil.Process(tree.pid)

    tree.pause()
    until(lambda: process.status() == psutil.STATUS_STOPPED)
    tree.resume()
    until(lambda: process.status() != psutil.STATUS_STOPPED)

    [memory] = tree.memory()
    assert 0 < memory.pss_mib <= memory.rss_mib <= memory.peak_rss_mib + 1
    assert tree.cpu_s() >= 0.04
    tree.stop()
    assert not is_running(tree.pid)
    assert tree.memory() == []


def test_a_program_that_ends_early_says_why(tmp_path: Path) -> None:
    tree = ProcessTree("broken", [sys.executable, "-c", "raise SystemExit('no model')"], tmp_path / "log")

    with pytest.raises(UnavailableError, match=r"broken ended with exit code 1: no model"):
        tree.wait_until(lambda: False, DEADLINE_S)


def test_a_program_can_be_asked(tmp_path: Path) -> None:
    tree = ProcessTree(
        "echo", [sys.executable, "-uc", "for i in range(2): print(input()[::-1])"], tmp_path / "log", interactive=True
    )

    assert tree.request("abc") == "cba"
    assert tree.request("de") == "ed"
    with pytest.raises(UnavailableError, match="echo ended"):
        tree.request("f")
    tree.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
@pytest.mark.parametrize("ending", ["raise ValueError", "os.kill(os.getpid(), 15)", "os.kill(os.getpid(), 2)", "pass"])
def test_whatever_happens_all_are_ended(tmp_path: Path, ending: str) -> None:
    """A detached grandchild is ended, too."""
    program = f"""
import os, sys
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parents[2])!r}, {str(Path(__file__).parents[1])!r}]
from benchmarks.processes import ending_all
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_processes import family
with ending_all():
    tree, pids = family(Path({str(tmp_path)!r}))
    print(tree.pid, *pids, flush=True)
    {ending}
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ)
    )

    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 3, done.stderr
    assert [pid for pid in pids if is_running(pid)] == []


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["/x/python3.11", "-m", "shardline.predictors.shard", "--port=1"], "shardline.predictors.shard"),
        (["/usr/bin/java", "-m", "resnet50=resnet50.mar"], "java"),
        (["raylet"], "raylet"),
        ([], "unknown"),
    ],
)
def test_role(command: list[str], name: str) -> None:
    assert role(command) == name
