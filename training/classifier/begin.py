"""The first weights of a classifier: by lot, or those of one that was trained on other classes."""

from pathlib import Path

import torch
from torch import nn

from shardline.partition.models import Model, load_model, read_state
from shardline.wire.errors import ModelError


def first_model(reference: str, seed: int, size: int | None) -> Model:
    """The model with weights by lot, the same ones for the same seed.

    Raises:
        ModelError: as `load_model`, or the model does not take pictures of this size.
    """
    model = load_model(reference, f"random:{seed}", size)
    pixels = torch.zeros(1, 3, model.picture.height, model.picture.width)
    try:
        with torch.no_grad():
            model.module(pixels)
    except Exception as exc:  # whatever the model's own forward raises
        raise ModelError(
            f"{reference} does not take pictures of {model.picture.height} pixels a side ({exc}): give --size, or "
            "name what it is built for, as in --model 'vit_b_16?image_size=96' --size 96"
        ) from exc
    return model


def begin_lots(seed: int) -> None:
    """What models with dropout draw while they learn follows from the seed; checkpoints keep how far it has come."""
    torch.manual_seed(seed)


def weights_of(reference: str, weights: str) -> dict[str, torch.Tensor]:
    """A state dict: a file's, or what torchvision has by that name for the model (it downloads it).

    Raises:
        ModelError: as `load_model`.
    """
    if Path(weights).suffix:
        return read_state(Path(weights))
    return load_model(reference, weights).module.state_dict()


def begin_with(module: nn.Module, state: dict[str, torch.Tensor], source: str) -> list[str]:
    """Give `module` the weights of `state` but those of other shapes, as the last layer's are for other classes.

    -> the names of what keeps the weights it had. What `state` has besides is left alone: heads for training only.

    Raises:
        ModelError: a weight that `state` lacks, or hardly one that fits: it is of another model.
    """
    own = module.state_dict()
    lacking = sorted(own.keys() - state.keys())
    fitting = {name: state[name] for name, each in own.items() if name in state and state[name].shape == each.shape}
    if lacking or 2 * len(fitting) < len(own):
        raise ModelError(
            f"--weights {source} is of another model: it lacks {', '.join(lacking[:3]) or 'none'}, and "
            f"{len(fitting)} of {len(own)} tensors have the same shape"
        )
    module.load_state_dict(own | fitting)
    return sorted(own.keys() - fitting.keys())
