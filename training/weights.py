"""What a training leaves behind: weights of two bytes a number, and beside them how they came about."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import nn

from shardline.wire.errors import ModelError


def write_weights(folder: Path, name: str, model: nn.Module, facts: Mapping[str, Any]) -> Path:
    """Write NAME.safetensors in fp16 (whole numbers as they are) and NAME.json; -> the first.

    Raises:
        ModelError: a weight that fp16 cannot hold, or files that cannot be written.
    """
    state = {key: _halved(key, value) for key, value in model.state_dict().items()}
    content = to_bytes(state, {"format": "pt"})
    said = {
        "weights": f"{name}.safetensors",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "parameters": sum(each.numel() for each in model.parameters()),
        **facts,
    }
    write_whole(folder / f"{name}.safetensors", content)
    write_whole(folder / f"{name}.json", (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode())
    return folder / f"{name}.safetensors"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file at once or not at all.

    Raises:
        ModelError: it cannot be written.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).chmod(0o644)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as exc:
        raise ModelError(f"{path} cannot be written: {exc}") from exc


def _halved(name: str, value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point():
        return value.cpu().contiguous()
    half = value.detach().cpu().to(torch.float16).contiguous()
    if not half.isfinite().all():
        raise ModelError(
            f"{name} holds {value.abs().max():g}, and two bytes hold 65504 at most: train anew with a lower --rate"
        )
    return half
