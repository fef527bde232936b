"""Weights of a detector for one grammar as the first weights of a detector for another.

Most tensors do not depend on the grammar. In the output layers, the rows of classes that both grammars have are taken
over, by the classes' names; the other rows keep the values that they have in a new detector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shardline.tasks.plates.grammar import PlateGrammar
from shardline.training.detector.model import PlateDetector
from shardline.wire.errors import ModelError

_FINE = 4  # positions that an output layer of the maps makes of one: as many rows for each channel


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferredWeights:
    """First weights for a grammar, and the names of the tensors that were taken over in part, or not at all."""

    weights: dict[str, Tensor]
    partly: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def report(self) -> str:
        """One line for the user."""
        whole = len(self.weights) - len(self.partly) - len(self.new)
        facts = [f"{whole} tensors taken over from weights of another grammar"]
        if self.partly:
            facts.append(f"with the rows of the same classes alone: {', '.join(self.partly)}")
        if self.new:
            facts.append(f"new: {', '.join(self.new)}")
        return "; ".join(facts)


def transfer(weights: Mapping[str, Tensor], source: PlateGrammar, first: PlateDetector) -> TransferredWeights:
    """Transfer weights of a detector for the grammar `source` to another grammar, that of `first`.

    Args:
        weights: tensors of any shape by name; some may be missing.
        first: a detector without normalisation whose values are those of all that is new.

    Raises:
        ModelError: they are weights of another model, or of another grammar than `source`.
    """
    known, state = PlateDetector(grammar=source).state_dict(), first.state_dict()
    odd = [name for name, value in weights.items() if name not in known or known[name].shape != value.shape]
    if odd:
        raise ModelError(
            f"--weights: {len(odd)} tensors are not those of a detector for the grammar {source.name}, e.g. {odd[0]}: "
            "allowed are weights that `shardline train plates` wrote"
        )
    theirs, mine = _rows(source), _rows(first.grammar)
    result: dict[str, Tensor] = {}
    partly, new = [], []
    for name, value in sorted(weights.items()):
        layer = name.rpartition(".")[0]
        if layer in mine and theirs[layer] != mine[layer]:
            result[name] = _with_rows(state[name], value, mine[layer], theirs[layer])
            partly.append(name)
        elif state[name].shape != value.shape:  # of the text reader: one for each position of a text
            result[name] = state[name]
            new.append(name)
        else:
            result[name] = value
    return TransferredWeights(weights=result, partly=tuple(partly), new=tuple(new))


def _rows(grammar: PlateGrammar) -> dict[str, list[str]]:
    """The names of the rows of each output layer that has rows for classes."""
    characters = list(grammar.characters)
    return {
        "boards.places": _map_rows(grammar.boards, 6),
        "groups.places": _map_rows(grammar.group_classes, 4),
        "reader.places": characters,
        "text_reader.places": [*characters, "nothing"],
    }


def _map_rows(classes: Sequence[str], others: int) -> list[str]:
    """Of a DetectionHead: heat, classes, shape and, of boards, orientation; each channel at four positions."""
    channels = ["heat", *classes, *(f"shape {index}" for index in range(others))]
    return [f"{channel} {place}" for channel in channels for place in range(_FINE)]


def _with_rows(first: Tensor, value: Tensor, names: Sequence[str], known: Sequence[str]) -> Tensor:
    """`first` with the rows of `value` that have the same name."""
    place = {name: index for index, name in enumerate(known)}
    rows = [value[place[name]] if name in place else first[index] for index, name in enumerate(names)]
    return torch.stack([row.to(first.dtype) for row in rows])
