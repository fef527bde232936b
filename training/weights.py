"""Weights files: the result of a training in fp16, the JSON that records how it came about, and the ones that ship."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from shardline.wire.errors import FileError, ModelError, TrainingError

_DETECTOR = "shardline.training.detector"  # the package that holds the weights that ship


def write_weights(
    folder: Path,
    name: str,
    model: nn.Module,
    record: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write NAME.safetensors in fp16 (integers as they are) and NAME.json with `record`, and return the first path.

    `metadata` goes into the header of the first file.

    Raises:
        TrainingError: fp16 cannot hold a weight.
        FileError: a file cannot be written.
    """
    state = {key: _to_fp16(key, value) for key, value in model.state_dict().items()}
    content = to_bytes(state, {"format": "pt", **(metadata or {})})
    document = {
        "weights": f"{name}.safetensors",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **record,
    }
    write_whole(folder / f"{name}.safetensors", content)
    write_whole(folder / f"{name}.json", (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
    return folder / f"{name}.safetensors"


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata in the header of a safetensors file; empty where the file is of another format or cannot be read."""
    try:
        with safe_open(path, "pt") as opened:
            return dict(opened.metadata() or {})
    except (OSError, SafetensorError):
        return {}


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        FileError: it cannot be written.
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
        raise FileError(f"{path} cannot be written: {exc}") from exc


def shipped_plates() -> Path:
    """The weights of the license plate detector that ship with Shardline.

    Raises:
        ModelError: this installation has none.
    """
    spec = find_spec(_DETECTOR)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "plates.safetensors"
    if not path.is_file():
        raise ModelError(
            f"the trained weights of plates are not in this installation ({path.name} beside the detector): give "
            "--weights FILE.safetensors, or random:0, with which no plate is found"
        )
    return path


def _to_fp16(name: str, value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point():
        return value.cpu().contiguous()
    half = value.detach().cpu().to(torch.float16).contiguous()
    if not half.isfinite().all():
        raise TrainingError(
            f"{name} holds {value.abs().max():g}, and fp16 holds 65504 at most: train again with a lower --rate"
        )
    return half
