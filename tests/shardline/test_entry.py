"""The entry point: Ctrl-C in the first half second prints no traceback."""

import signal
import subprocess
import sys

from services.processes import ROOT

# interrupts the process by itself while the command's modules are imported
PROGRAM = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
        return None
sys.meta_path.insert(0, Interrupting())
from shardline.entry import main
main()
"""


def test_ctrl_c_while_modules_are_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == -signal.SIGINT
    assert done.stderr == ""


def test_the_command_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shardline.entry", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("shardline ")
