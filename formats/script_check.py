"""Run a TorchScript file in a child process and compare its outputs: a script that crashes ends the child alone.

A traced program that is run at another batch size than that of its trace may end its process by SIGSEGV or SIGABRT. The
child, `python -m shardline.formats.script_check`, reads one request a line from stdin, answers one line each on stdout,
and serves all comparisons of its parent.
"""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from shardline.partition.compare import tensor_difference
from shardline.partition.program import import_root, one_line
from shardline.wire.errors import FormatError

Tensors = tuple[torch.Tensor, ...]
Examples = Mapping[int, tuple[Tensors, Tensors]]
"""By batch size: inputs, and the outputs that are expected; shapes and dtypes are those of the part."""

_RUNS = 2  # TorchScript's executor optimises on the second call


def script_differences(path: Path, examples: Examples, names: Sequence[str]) -> list[str]:
    """Run the TorchScript file on the inputs of `examples` and describe each output that is not equal to the bit.

    Raises:
        FormatError: the file cannot be loaded or run, or crashes.
    """
    with tempfile.TemporaryDirectory(prefix="shardline-") as folder:
        stored = Path(folder) / "examples.pt"
        buffer = io.BytesIO()  # torch's own writer does not say that the disk is full
        torch.save(dict(examples), buffer)
        stored.write_bytes(buffer.getbuffer())
        request = {"path": str(path.resolve()), "examples": str(stored), "names": list(names)}
        answer = _child().ask({**request, "threads": torch.get_num_threads()})
    if "error" in answer:
        raise FormatError(answer["error"])
    differences: list[str] = answer["differences"]
    return differences


class _Child:
    """The child process; it is started when it is first asked, and again after a crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process = None
            raise FormatError(f"it crashes when it runs ({_ending(process.wait())})")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            path = os.pathsep.join([import_root(), os.environ.get("PYTHONPATH", "")])
            self._process = subprocess.Popen(
                [sys.executable, "-m", "shardline.formats.script_check"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=os.environ | {"PYTHONPATH": path},
            )
        return self._process


@cache
def _child() -> _Child:
    return _Child()


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        torch.set_num_threads(request["threads"])
        examples = torch.load(request["examples"], weights_only=True)
        script = torch.jit.load(request["path"], map_location="cpu")
        return {"differences": list(_differences(script, examples, request["names"]))}
    except Exception as exc:  # a loader and an interpreter raise whatever they like
        return {"error": one_line(exc)}


def _differences(script: Any, examples: Examples, names: Sequence[str]) -> Iterator[str]:
    for batch, (inputs, expected) in examples.items():
        for _ in range(_RUNS):
            with torch.inference_mode():
                found: Tensors = script(*inputs)
            for name, value, reference in zip(names, found, expected, strict=True):
                if difference := tensor_difference(value, reference):
                    yield (
                        f"batch {batch}: {name} is {value.dtype}{list(value.shape)}, off by {difference:.3g} from "
                        f"{reference.dtype}{list(reference.shape)}"
                    )


def main() -> None:
    """Answer requests, one JSON object a line, until stdin is closed."""
    warnings.simplefilter("ignore")  # TorchScript is deprecated; the documentation mentions it
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a script prints is no answer
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
