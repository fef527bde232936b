"""Decoding of a JPEG at full size."""

import io

import pytest
from PIL import Image, UnidentifiedImageError

from benchmarks.decoding import SPEC, decode
from shardline.predictors.picture import to_pixels
from shardline.wire.limits import Limits


def test_both_ways_decode_a_jpeg() -> None:
    with io.BytesIO() as buffer:
        Image.new("RGB", (300, 260), "red").save(buffer, "JPEG")
        jpeg = buffer.getvalue()
    decode(jpeg)

    assert to_pixels(jpeg, SPEC, Limits()).shape == (3, 224, 224)
    with pytest.raises(UnidentifiedImageError):
        decode(b"text")
