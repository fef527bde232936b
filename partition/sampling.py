"""Sample values of the inputs beside a picture, to measure, calibrate and verify a model with.

The values follow from the picture's pixels, so that the whole and a chain of shards get the same ones. A uint8 input of
the pixels' own shape counts as a further picture and gets the pixels turned by 180 degrees; floating-point values are
drawn from 0 to 1, whole numbers from 0 and 1, since nothing says which others a model takes.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def sample_inputs(pixels: np.ndarray, types: Sequence[tuple[np.dtype[Any], tuple[int, ...]]]) -> Iterator[np.ndarray]:
    """Yield a value [batch, …] for each input, from its dtype and the shape of one instance.

    Args:
        pixels: uint8 [batch, channels, height, width].
    """
    for index, (dtype, shape) in enumerate(types):
        if dtype == np.uint8 and shape == pixels.shape[1:]:
            yield np.ascontiguousarray(pixels[:, :, ::-1, ::-1])
            continue
        random = np.random.default_rng([index, zlib.crc32(pixels.tobytes())])
        size = (len(pixels), *shape)
        yield (random.random(size) if dtype.kind == "f" else random.integers(0, 2, size)).astype(dtype)
