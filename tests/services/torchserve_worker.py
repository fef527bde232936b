"""Run an archive as TorchServe's worker does, without TorchServe: `python torchserve_worker.py MODEL.mar BODY…`.

It unpacks the archive, loads the handler's one class, and gives it all bodies as one batch. The answers go to stdout as
one JSON line: status, content type and the body, frames in base64.
"""

import base64
import importlib
import inspect
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any


class Context:
    """As much of ts.context.Context as handlers use."""

    def __init__(self, folder: str) -> None:
        self.system_properties = {"model_dir": folder}
        self.answers: dict[int, dict[str, Any]] = {}

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self.answers.setdefault(idx, {}).update(status=code, phrase=phrase)

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.answers.setdefault(idx, {}).update(type=value)


def main(archive: str, *bodies: str) -> None:
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(archive).extractall(folder)
        sys.path.insert(0, folder)
        handler = json.loads(Path(folder, "MAR-INF/MANIFEST.json").read_text())["model"]["handler"]
        module = importlib.import_module(handler.removesuffix(".py"))
        classes: list[Any] = [found for _, found in inspect.getmembers(module, inspect.isclass)]
        [kind] = [found for found in classes if found.__module__ == module.__name__]
        context, service = Context(folder), kind()
        service.initialize(context)
        answers = service.handle([{"body": bytearray(Path(body).read_bytes())} for body in bodies], context)
        foreign = [name for name, each in sys.modules.items() if name.split(".")[0] in ("wire", "partition", "tasks")
                   and folder not in (getattr(each, "__file__", None) or "")]  # fmt: skip
    shown = [
        {"body": base64.b64encode(answer).decode() if isinstance(answer, bytes) else answer, **context.answers[index]}
        for index, answer in enumerate(answers)
    ]
    print(json.dumps({"answers": shown, "foreign": foreign}))


if __name__ == "__main__":
    main(*sys.argv[1:])
