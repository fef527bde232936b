"""Load a model by its reference, such as `torchvision:resnet50`, with its weights, preprocessing and labels.

There are four kinds of reference:
    torchvision:NAME[?argument=value&…]   a model that torchvision registers, with arguments for its builder
    timm:NAME[?argument=value&…]          a model that timm registers, with arguments as above
    package.module:factory[?argument=…]   an nn.Module, or a callable that returns one, with arguments as above
    path/to/program.pt2                   an exported program, dynamic in the batch

and four of weights:
    (none)                  torchvision's or timm's default weights (downloaded); for the other kinds, the weights
                            that the model has
    IMAGENET1K_V2           torchvision's weights of that name (downloaded by torchvision)
    path.safetensors        a state dict; .pt and .pth files are read with `weights_only` (`partition/state.py`)
    random:SEED             random, with statistics calibrated on pictures (`partition/prepare.py`)
"""

import importlib
import re
import sys
from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import torch
import torchvision

from shardline.partition.archive import load_program, without_examples
from shardline.partition.guard import users_code
from shardline.partition.pictures import MODES, Size, mode_of, resized, usual_mean_std, usual_picture
from shardline.partition.preprocessing import ASSUMED, MODEL, OPTION, Preprocessing, own_preprocessing
from shardline.partition.program import input_nodes, one_line, runnable
from shardline.partition.state import load_state
from shardline.partition.timm_models import build_timm, timm_labels, timm_preprocessing
from shardline.partition.torchvision_kinds import torchvision_kind
from shardline.storage.bundle import InputSpec, PictureSpec
from shardline.wire.errors import BundleError, ModelError, UsageError
from shardline.wire.typed import Scalar

_SEEDS = 2**64
_DEFAULT_SIDE = 224
_TIMM_FACTORY = "create_model?"  # timm's own factory, with the model's name as an argument
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_LITERALS = ("True", "False", "None")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that takes normalised float32 [batch, channels, height, width], with its preprocessing and labels.

    `mean` and `std` have one number for each channel of `picture.mode`. `inputs` are what its forward takes after the
    picture, by the names of its parameters; those that are pictures are normalised like the first.
    `takes_pixels` is True where the model itself takes uint8 pixels and normalises them (some .pt2 programs). `task` is
    the name of the task that interprets its outputs: a key of shardline.tasks.registry.TASKS; `task_options` say what
    the outputs mean, where they alone do not say it. `random` is True for random weights, which must be calibrated.
    `origins` gives the source of size, fit, interpolation, mode, mean, std and scores: "the model's", "an option";
    what it does not list is assumed (`shardline.partition.preprocessing`).
    """

    reference: str
    weights: str
    module: torch.nn.Module
    picture: PictureSpec
    mean: tuple[float, ...]
    std: tuple[float, ...]
    inputs: tuple[InputSpec, ...] = ()
    labels: tuple[str, ...] = ()
    random: bool = False
    takes_pixels: bool = False
    task: str = "classify"
    task_options: Mapping[str, Scalar] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)


def load_model(reference: str, weights: str | None = None, size: Size | None = None) -> Model:
    """Load the model that `reference` names, in evaluation mode, with its weights.

    Args:
        size: of its pictures, instead of the model's own.

    Raises:
        UsageError: a reference or weights of no known form, or that do not go together.
        FileError: a file of weights that does not exist or cannot be read.
        ModelError: the model cannot be built, or the weights do not fit it.
    """
    kind, _, rest = reference.partition(":")
    seed = _seed(weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        if reference.endswith(".pt2"):
            if seed is not None:
                raise UsageError(f"{reference} comes with its own weights; leave --weights {weights} out")
            model = _from_program(Path(reference))
        elif kind == "torchvision" and rest:
            model = _from_torchvision(reference, rest, weights)
        elif kind == "timm" and rest and not rest.startswith(_TIMM_FACTORY):
            model = _from_timm(reference, rest, weights)
        elif kind and rest:
            model = _from_factory(reference, kind, rest)
        else:
            raise UsageError(
                f"{reference!r} names no model; allowed are torchvision:NAME, timm:NAME, package.module:factory and a "
                ".pt2 file"
            )
    if weights is not None and seed is None and not _is_torchvision_weights(kind, weights):
        load_state(model.module, Path(weights))
    if size is not None:
        model = replace(model, picture=resized(model.picture, size), origins={**model.origins, "size": OPTION})
    return replace(
        model,
        module=model.module.eval() if not model.reference.endswith(".pt2") else model.module,
        weights=weights or model.weights,
        random=seed is not None,
    )


def _seed(weights: str | None) -> int | None:
    if weights is None or not _is_random(weights):
        return None
    _, _, seed = weights.partition(":")
    if not seed.isdecimal() or int(seed) >= _SEEDS:
        raise UsageError(f"--weights {weights} has no seed; write random:SEED with a whole number, e.g. random:0")
    return int(seed)


def _is_random(weights: str) -> bool:
    return weights.partition(":")[0] == "random"


def _is_torchvision_weights(kind: str, weights: str) -> bool:
    return kind == "torchvision" and not Path(weights).suffix


def _from_torchvision(reference: str, rest: str, weights: str | None) -> Model:
    name, _, query = rest.partition("?")
    kind = torchvision_kind(name)
    choices = torchvision.models.get_model_weights(name)
    chosen = _torchvision_weights(name, weights)
    arguments = _arguments(reference, query)
    if chosen is None:
        arguments = {**kind.builder_arguments(name), **arguments}
    try:
        module = torchvision.models.get_model(name, weights=chosen, **arguments)
    except (OSError, HTTPException) as exc:
        raise ModelError(
            f"{reference}: the weights {chosen.name if chosen else weights} could not be downloaded "
            f"({one_line(exc)}); give --weights FILE.safetensors or random:SEED"
        ) from exc
    except Exception as exc:  # each builder checks its arguments in its own way
        raise ModelError(f"{reference}: torchvision does not build it: {one_line(exc)}") from exc
    meta = (chosen or choices.DEFAULT).meta
    preset = (chosen or choices.DEFAULT).transforms()
    mean, std = kind.normalisation(preset, module)
    return Model(
        reference=reference,
        weights=f"{chosen.name}" if chosen is not None else "as built",
        module=kind.finish(module),
        picture=kind.picture(preset, module),
        mean=mean,
        std=std,
        labels=() if "num_classes" in arguments else tuple(meta["categories"]),
        task=kind.task,
        task_options=kind.options(module),
        origins=dict.fromkeys(("size", "fit", "interpolation", "mode", "mean", "std"), MODEL),
    )


def _torchvision_weights(name: str, weights: str | None) -> Any:
    """Find torchvision's weights of that name; None for random weights and those of a file."""
    choices = torchvision.models.get_model_weights(name)
    if weights is not None and (_is_random(weights) or Path(weights).suffix):
        return None
    try:
        return choices.DEFAULT if weights is None else choices[weights]
    except KeyError as exc:
        names = ", ".join(choice.name for choice in choices)
        raise UsageError(
            f"torchvision has no weights {weights!r} for {name}; it has {names}; a file or random:SEED is taken too"
        ) from exc


def _from_timm(reference: str, rest: str, weights: str | None) -> Model:
    name, _, query = rest.partition("?")
    arguments = _arguments(reference, query)
    module = build_timm(name, arguments, pretrained=weights is None)
    own = _in_mode(timm_preprocessing(module, arguments), mode_of(module))
    return Model(
        reference=reference,
        weights="timm's",
        module=module,
        picture=own.picture,
        mean=own.mean,
        std=own.std,
        labels=timm_labels(module),
        origins=own.origins,
    )


def _arguments(reference: str, query: str) -> dict[str, Any]:
    try:
        return {key: _argument(value) for key, value in parse_qsl(query, strict_parsing=bool(query))}
    except (ValueError, SyntaxError) as exc:
        raise UsageError(
            f"{reference}: write arguments as ?name=value&name=value with numbers, words or Python literals"
        ) from exc


def _argument(text: str) -> Any:
    """Value of a Python literal; a word that is none, such as avg or resnet50, is a string."""
    if _WORD.fullmatch(text) and text not in _LITERALS:
        if text.capitalize() in _LITERALS:
            raise ValueError(f"{text} is no Python literal: write {text.capitalize()}")
        return text
    return literal_eval(text)


def _from_factory(reference: str, module_name: str, called: str) -> Model:
    factory_name, _, query = called.partition("?")
    arguments = _arguments(reference, query)
    # `python -m` searches the current folder for modules, a console script does not.
    if "" not in sys.path:
        sys.path.insert(0, "")
    with users_code(f"{reference} cannot be imported: it"):
        try:
            factory = getattr(importlib.import_module(module_name), factory_name)
        except (ImportError, AttributeError) as exc:
            raise ModelError(
                f"{reference}: {one_line(exc)}; is the package installed, or do you stand in its folder?"
            ) from exc
    if isinstance(factory, torch.nn.Module) and arguments:
        raise UsageError(f"{reference}: {factory_name} is a module already and takes no arguments; leave ?{query} out")
    with users_code(reference):
        module = factory if isinstance(factory, torch.nn.Module) else factory(**arguments)
    if not isinstance(module, torch.nn.Module):
        raise ModelError(f"{reference} gave a {type(module).__name__}; it must give a torch.nn.Module")
    own = module_preprocessing(module, _DEFAULT_SIDE)
    return Model(
        reference=reference,
        weights="as built",
        module=module,
        picture=own.picture,
        mean=own.mean,
        std=own.std,
        origins=own.origins,
    )


def module_preprocessing(module: torch.nn.Module, size: Size) -> Preprocessing:
    """Preprocessing that a module carries; the usual one at `size` where it carries none."""
    mode = mode_of(module)
    mean, std = usual_mean_std(mode)
    own = own_preprocessing(module)
    if own is None:
        height, width = (size, size) if isinstance(size, int) else size
        return Preprocessing(picture=usual_picture(height, width, mode), mean=mean, std=std, origins={})
    return _in_mode(own, mode)


def _in_mode(own: Preprocessing, mode: str) -> Preprocessing:
    """Preprocessing for pictures of another mode, with the usual mean and deviation where it is another."""
    if mode == own.picture.mode:
        return own
    mean, std = usual_mean_std(mode)
    origins = {**own.origins, "mode": MODEL, "mean": ASSUMED, "std": ASSUMED}
    return Preprocessing(picture=replace(own.picture, mode=mode), mean=mean, std=std, origins=origins)


def _from_program(path: Path) -> Model:
    try:
        with without_examples(path) as plain:
            program = load_program(plain)
    except BundleError as exc:
        raise ModelError(f"{path} is not an exported program that can be loaded: {exc}") from exc
    value, *others = [node.meta["val"] for node in input_nodes(program)] or [None]
    if not isinstance(value, torch.Tensor) or value.dim() != 4 or value.shape[1] not in MODES:
        raise ModelError(f"{path} must first take a tensor [batch, channels, height, width] of 1, 3 or 4 channels")
    height, width = value.shape[2:]
    if not isinstance(height, int) or not isinstance(width, int):
        raise ModelError(f"{path} has pictures of any size; export it with a fixed height and width")
    for other in (value, *others):
        _check_dynamic(other, path)
    mode = MODES[value.shape[1]]
    mean, std = usual_mean_std(mode)
    return Model(
        reference=str(path),
        weights="as built",
        module=runnable(program),
        picture=usual_picture(height, width, mode),
        mean=mean,
        std=std,
        takes_pixels=value.dtype == torch.uint8,
        origins={"size": MODEL},
    )


def _check_dynamic(value: object, path: Path) -> None:
    if not isinstance(value, torch.Tensor) or value.dim() == 0 or isinstance(value.shape[0], int):
        shape = list(value.shape) if isinstance(value, torch.Tensor) else value
        raise ModelError(
            f"{path} has the fixed batch {shape[0]}; export it with a dynamic first dimension"
            if isinstance(shape, list) and shape
            else f"{path} takes an input without a batch, {shape}; give each input a dynamic first dimension"
        )
    if not all(isinstance(dim, int) for dim in value.shape[1:]):
        raise ModelError(f"{path} takes an input of {list(value.shape)}; only the first dimension may be dynamic")
