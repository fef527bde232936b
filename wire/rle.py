"""Codec of COCO's compressed run-length encoding (RLE) of masks, as `pycocotools.mask` reads and writes it.

The counts of a mask are the lengths of its runs, column by column from the upper left corner: first pixels outside of
it (0 of them, if its first pixel is inside), then pixels inside, and so on in turn. From the fourth count on, the
difference from the count two before is written. Each number is written in groups of 5 bits, least significant first, as
characters from "0": bit 5 says that another group follows, bit 4 of the last group is the sign.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_GROUPS = 13  # of 5 bits: enough for 64
_FIRST = 48  # "0"
_MORE, _SIGN, _VALUE = 32, 16, 31


def encode_classes(labels: NDArray[np.unsignedinteger]) -> dict[int, str]:
    """Encode the mask of every class that a map of class indexes, uint [height, width], contains: index -> counts."""
    columns = labels.ravel(order="F")
    starts = np.flatnonzero(np.concatenate([[True], columns[1:] != columns[:-1]]))  # of runs of one class
    ends = np.append(starts[1:], columns.size)
    classes = columns[starts]
    order = np.argsort(classes, kind="stable")
    found, firsts = np.unique(classes[order], return_index=True)
    groups = np.split(order, firsts[1:])
    return {
        int(index): _write(_counts(starts[runs], ends[runs], columns.size))
        for index, runs in zip(found, groups, strict=True)
    }


def decode_classes(
    counts: Mapping[int, str], size: tuple[int, int], rest: int, dtype: type[np.unsignedinteger] = np.uint8
) -> NDArray[np.unsignedinteger]:
    """Decode masks of classes into a map of class indexes, uint [height, width].

    Args:
        counts: class index -> counts of its mask.
        size: height and width in pixels; the caller bounds them.
        rest: value of the pixels that no mask holds.
        dtype: of the map.

    Raises:
        ValueError: counts that are not of this form, or not of a mask of this size.
    """
    columns = np.full(size[0] * size[1], rest, dtype)
    for index, text in counts.items():
        bounds = np.cumsum(_read(text, columns.size))
        if bounds.size == 0 or bounds[-1] != columns.size or (np.diff(bounds, prepend=0) < 0).any():
            raise ValueError(f"the counts of class {index} are not those of {size[0]} x {size[1]} pixels")
        edges = np.zeros(columns.size + 1, np.int8)
        np.add.at(edges, bounds[0::2], 1)
        np.add.at(edges, bounds[1::2], -1)
        columns[np.cumsum(edges[:-1], dtype=np.int32) > 0] = index
    return columns.reshape(size, order="F")


def _counts(starts: NDArray[np.int64], ends: NDArray[np.int64], pixels: int) -> NDArray[np.int64]:
    """Lengths of runs outside and inside of a mask in turn, from the first and last pixels of its runs, [n] each."""
    bounds = np.stack([starts, ends], axis=1).ravel()
    if bounds[-1] != pixels:
        bounds = np.append(bounds, pixels)
    return np.diff(bounds, prepend=0)


def _write(counts: NDArray[np.int64]) -> str:
    """Write counts [n] as text."""
    left = counts.copy()
    left[3:] -= counts[1:-2]
    groups = np.zeros((len(left), _GROUPS), np.uint8)
    used = np.zeros(groups.shape, bool)
    writing = np.ones(len(left), bool)
    for column in range(_GROUPS):
        if not writing.any():
            break
        bits = left & _VALUE
        left >>= 5
        more = np.where(bits & _SIGN, left != -1, left != 0)
        groups[:, column] = bits + np.where(more, _MORE, 0) + _FIRST
        used[:, column] = writing
        writing &= more
    return groups[used].tobytes().decode("ascii")


def _read(text: str, most: int) -> NDArray[np.int64]:
    """Read counts, int64 [n], each from 0 to `most`, from text.

    Raises:
        ValueError: other characters, a number that is not complete, or one out of range.
    """
    groups = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64) - _FIRST
    if ((groups < 0) | (groups > _MORE + _VALUE)).any() or (groups.size and groups[-1] & _MORE):
        raise ValueError("the counts of a mask have other characters than COCO's, or end too early")
    counts: list[int] = []
    value, shift = 0, 0
    for group in groups.tolist():
        value |= (group & _VALUE) << shift
        shift += 5
        if group & _MORE:
            if shift > 5 * _GROUPS:
                raise ValueError("a count of a mask has too many digits")
            continue
        value -= (1 << shift) if group & _SIGN else 0
        value += counts[-2] if len(counts) > 2 else 0
        if not 0 <= value <= most:
            raise ValueError(f"a count of a mask is {value}; allowed are 0 to {most}")
        counts.append(value)
        value, shift = 0, 0
    return np.array(counts, np.int64)
