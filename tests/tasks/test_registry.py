"""The registry: every task's functions, loaded when they are needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from shardline.tasks.registry import TASKS, task_code, task_reply
from shardline.wire.errors import BundleError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_complete(name: str) -> None:
    code = task_code(name)

    assert task_code(name) is code
    assert task_reply(name) is code.reply
    assert all(callable(function) for function in (code.reply, code.answers, code.comparable))
    assert (code.open_index is not None) == (name == "retrieve")


@pytest.mark.parametrize("name", ["", "Classify", "weather", "os"])
def test_a_task_that_does_not_exist(name: str) -> None:
    with pytest.raises(BundleError, match=rf"task is {name!r}; allowed: classify, .*: build it again"):
        task_code(name)


def test_only_the_task_that_is_used_is_loaded() -> None:
    program = (
        "import sys; from shardline.tasks.registry import task_code; task_code('classify'); "
        "print(*sorted(name for name in sys.modules if name.startswith('shardline.tasks.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.split() == [f"shardline.tasks.{name}" for name in ("classify", "index", "registry", "request")]
