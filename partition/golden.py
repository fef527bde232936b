"""What proves a shard: one input, and what came out when the bundle was built."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes

from shardline.partition.layout import as_numpy, as_torch
from shardline.storage.bundle import GOLDEN_FILE
from shardline.wire.errors import BundleError


@dataclass(frozen=True, slots=True)
class Golden:
    """One input of a stage and what the stage gave for it when the bundle was built."""

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]

    def save(self, folder: Path) -> None:
        tensors = {f"in.{name}": value for name, value in self.inputs.items()}
        tensors |= {f"out.{name}": value for name, value in self.outputs.items()}
        packed = {name: as_torch(np.array(value, order="C")) for name, value in tensors.items()}
        (folder / GOLDEN_FILE).write_bytes(safetensors_bytes(packed))

    @classmethod
    def load(cls, folder: Path) -> "Golden":
        try:
            tensors = {name: as_numpy(value) for name, value in load_file(folder / GOLDEN_FILE).items()}
        except (SafetensorError, OSError) as exc:
            raise BundleError(f"{GOLDEN_FILE} cannot be read ({exc}): push or build the bundle again") from exc
        return cls(
            {name.removeprefix("in."): value for name, value in tensors.items() if name.startswith("in.")},
            {name.removeprefix("out."): value for name, value in tensors.items() if name.startswith("out.")},
        )
