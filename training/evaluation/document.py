"""Figures as JSON, in the words of their task."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def document(figures: Any, words: Mapping[str, str]) -> Any:
    """Dataclasses, however nested, as JSON; `words` are other names for fields of the figures that all tasks share."""
    if is_dataclass(figures):
        return {
            words.get(each.name, each.name): document(getattr(figures, each.name), words) for each in fields(figures)
        }
    if isinstance(figures, Mapping):
        return {key: document(value, words) for key, value in figures.items()}
    if isinstance(figures, list | tuple):
        return [document(value, words) for value in figures]
    return figures
