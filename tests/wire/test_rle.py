"""COCO's compressed run lengths: pycocotools is the peer in both directions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from shardline.wire.rle import decode_classes, encode_classes

MAPS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 3))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside pycocotools
@settings(deadline=None)
@given(MAPS)
def test_pycocotools_reads_and_writes_the_same(labels: np.ndarray) -> None:
    encoded = encode_classes(labels)

    assert encoded.keys() == set(np.unique(labels).tolist())
    for index, counts in encoded.items():
        mask = np.asfortranarray(labels == index, np.uint8)
        assert coco.encode(mask) == {"size": list(labels.shape), "counts": counts.encode()}
        assert np.array_equal(coco.decode({"size": list(labels.shape), "counts": counts.encode()}), mask)
    assert np.array_equal(decode_classes(encoded, labels.shape, 255), labels)


def test_long_runs_and_wide_indexes() -> None:
    labels = np.zeros((1500, 1000), np.uint16)
    labels[700:, 200:900] = 300
    encoded = encode_classes(labels)
    mask = np.asfortranarray(labels == 300, np.uint8)

    assert coco.encode(mask)["counts"] == encoded[300].encode()
    assert np.array_equal(decode_classes({300: encoded[300]}, (1500, 1000), 0, np.uint16), labels)


@pytest.mark.parametrize("counts", ["", "é", "P", "1", "o" * 70, "0" * 3, "9", "N", "\x00", "~~", "o" * 20 + "0"])
def test_counts_that_are_none(counts: str) -> None:
    with pytest.raises(ValueError, match=r"count"):
        decode_classes({1: counts}, (2, 4), 0)
