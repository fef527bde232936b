"""The command in the test's own process: what it prints and its exit code, without seconds of imports for each call."""

import contextlib
import io
import subprocess
import sys
from unittest.mock import patch

import torch
from services.processes import ROOT

from shardline.__main__ import main


def run_command(*arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run `shardline ARGUMENTS` in the repository; its exit code must be `code`."""
    stdout, stderr = io.StringIO(), io.StringIO()
    found, threads = 0, torch.get_num_threads()
    with (
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        patch.object(sys, "argv", ["shardline", *arguments]),
    ):
        try:
            main()
        except SystemExit as exc:
            found = exc.code if isinstance(exc.code, int) else int(bool(exc.code))
        finally:
            torch.set_num_threads(threads)
    assert found == code, stderr.getvalue()
    return subprocess.CompletedProcess(list(arguments), found, stdout.getvalue(), stderr.getvalue())
