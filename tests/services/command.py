"""The command in this process: seconds faster than `python -m shardline`, where the process is not what is tested."""

import io
import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch
from services.processes import ROOT

from shardline.__main__ import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What a command printed."""

    stdout: str
    stderr: str


def shardline(*arguments: str, code: int = 0, folder: Path = ROOT) -> Printed:
    """Run the command in `folder`; its exit code must be `code`."""
    out, err = io.StringIO(), io.StringIO()
    argv, threads, environment = sys.argv, torch.get_num_threads(), dict(os.environ)
    sys.argv = ["shardline", *arguments]
    try:
        with redirect_stdout(out), redirect_stderr(err), chdir(folder):
            main()
        exit_code: object = 0
    except SystemExit as exc:
        exit_code = exc.code or 0
    finally:
        sys.argv = argv
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environment)
    assert exit_code == code, err.getvalue()
    return Printed(stdout=out.getvalue(), stderr=err.getvalue())
