"""Weights of a file for a module: plain state dicts, checkpoints, and the prefixes that wrappers add to names."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from shardline.partition.program import one_line
from shardline.wire.errors import FileError, ModelError

State = dict[str, torch.Tensor]
"""Tensors of any shape and dtype on the CPU, by name."""

# keys under which training scripts keep the state dict in a checkpoint, the most specific first
_CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params")
# of DistributedDataParallel, torch.compile, and modules that keep the network as an attribute
_WRAPPER_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")


def load_state(module: torch.nn.Module, path: Path) -> None:
    """Load a file's weights into a module; every name and shape must fit.

    Tensors of a part that the module has as None are left out, such as an auxiliary head that only a training uses.

    Raises:
        FileError, ModelError: as `read_state`, or the weights do not fit the module.
    """
    state = without_wrappers(read_state(path), module.state_dict())
    state = {
        name: value for name, value in state.items() if getattr(module, name.partition(".")[0], module) is not None
    }
    try:
        module.load_state_dict(state)
    except RuntimeError as exc:
        raise ModelError(f"--weights {path} does not fit the model: {one_line(exc)}") from exc


def read_state(path: Path) -> State:
    """Read a file's state dict; nothing in it is run.

    A checkpoint that keeps the state dict under a usual key, such as {"model": ..., "epoch": 3}, is read, too.

    Raises:
        FileError: the file does not exist or cannot be read.
        ModelError: the file holds no state dict.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as exc:
        raise FileError(f"--weights {path} does not exist; a file, a torchvision name or random:SEED is taken") from exc
    except (SafetensorError, OSError, RuntimeError, ValueError) as exc:
        raise FileError(f"--weights {path} cannot be read: {one_line(exc)}") from exc
    except Exception as exc:  # damaged pickles raise nearly every built-in error
        raise ModelError(
            f"--weights {path} is not a plain state dict (it is damaged, or would run code): save it with safetensors"
        ) from exc
    state = _state_in(content)
    if state is None:
        raise ModelError(
            f"--weights {path} holds {_described(content)}; allowed are a state dict of names to tensors, and a "
            f"checkpoint that has one under {', '.join(_CHECKPOINT_KEYS)}: save model.state_dict()"
        )
    return state


def without_wrappers(state: State, wanted: Mapping[str, torch.Tensor]) -> State:
    """Remove prefixes that all names of `state` and not all of `wanted` have, such as "module." of data parallelism.

    Tensors of any shape and dtype; they are not looked at.
    """
    for prefix in _WRAPPER_PREFIXES * 2:  # one wrapper may be inside another, in either order
        if _all_begin(state, prefix) and not _all_begin(wanted, prefix):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _all_begin(state: Mapping[str, torch.Tensor], prefix: str) -> bool:
    return bool(state) and all(name.startswith(prefix) for name in state)


def _state_in(content: object) -> State | None:
    """The state dict that a file's content is, or that a checkpoint has under a usual key."""
    if not isinstance(content, Mapping):
        return None
    inner = (content[key] for key in _CHECKPOINT_KEYS if key in content)
    return next((dict(found) for found in (content, *inner) if _is_state(found)), None)


def _is_state(content: object) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items())
    )


def _described(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return f"the keys {', '.join(map(str, list(content)[:6]))}" if content else "nothing"
