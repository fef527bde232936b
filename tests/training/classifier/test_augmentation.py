"""Batch i is a function of the seed and i; each epoch goes through all pictures; what is augment stays in bounds."""

import pickle
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from services.drawn_shapes import draw_shapes

from shardline.predictors.picture import open_picture, to_pixels
from shardline.storage.bundle import PictureSpec
from shardline.training.classifier.augmentation import Augmentation, ClassifierBatches, augment
from shardline.training.prefetch import prefetch
from shardline.wire.errors import DatasetError
from shardline.wire.limits import Limits

SPEC = PictureSpec(height=24, width=24, fit="stretch")
PLAIN = Augmentation(crop=1.0, flip=False, turn=0.0, jitter=0.0, mix=0.0)
STRONG = Augmentation(crop=0.3, flip=True, turn=10.0, jitter=0.5, mix=0.5)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "data", train=10, test=1)


@pytest.fixture
def batches(shapes: Path) -> ClassifierBatches:
    opened = partial(open_picture, spec=SPEC, limits=Limits())
    return ClassifierBatches(
        folder=shapes, held_out=0.1, seed=3, size=6, spec=SPEC, augmentation=STRONG, open_picture=opened
    )


def test_a_batch_follows_from_its_number(batches: ClassifierBatches) -> None:
    later, again = batches(7), pickle.loads(pickle.dumps(batches))(7)

    assert (later.pixels == again.pixels).all()
    assert (later.others == again.others).all()
    assert later.share == again.share
    assert not (batches(8).pixels == later.pixels).all()
    assert not (replace(batches, seed=4)(7).pixels == later.pixels).all()


@pytest.mark.slow
def test_other_processes_draw_the_same(batches: ClassifierBatches) -> None:
    with prefetch(batches, 2, 5, workers=2) as drawn:
        for step, batch in enumerate(drawn, 2):
            assert (batch.pixels == batches(step).pixels).all()


def test_each_epoch_has_every_picture_once_in_another_order(batches: ClassifierBatches) -> None:
    plain = replace(batches, size=27, augmentation=PLAIN)
    epochs = [plain(step) for step in range(3)]

    assert all(Counter(epoch.classes.tolist()) == {0: 9, 1: 9, 2: 9} for epoch in epochs)
    pictures = [sorted(picture.tobytes() for picture in epoch.pixels) for epoch in epochs]
    assert pictures[0] == pictures[1] == pictures[2]
    assert len({epoch.pixels.tobytes() for epoch in epochs}) == 3


def test_half_of_the_batches_are_mixed(batches: ClassifierBatches) -> None:
    drawn = [batches(step) for step in range(40)]
    mixed = [batch for batch in drawn if batch.share < 1]

    assert 10 <= len(mixed) <= 30
    assert all(0 <= batch.share < 1 for batch in mixed)
    assert all((batch.classes == batch.others).all() for batch in drawn if batch.share == 1)


def test_a_part_is_pasted_in_as_large_as_its_share(batches: ClassifierBatches) -> None:
    pasting = replace(batches, augmentation=replace(PLAIN, mix=1.0))
    for step in range(12):
        mixed, whole = pasting(step), replace(pasting, augmentation=PLAIN)(step)
        changed = (mixed.pixels != whole.pixels).any(axis=(0, 3)).mean()
        assert changed <= 1 - mixed.share + 1e-9


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_unaltered_it_is_what_is_served(fit: str, shapes: Path) -> None:
    """Take a picture that is all in the crop, since any part of another may be cut out."""
    picture = Image.effect_noise((48, 48), 90).convert("RGB")
    spec = PictureSpec(height=24, width=24, fit=fit, resize=24 if fit == "crop" else None)
    path = shapes / "noise.png"
    picture.save(path)
    served = to_pixels(path.read_bytes(), spec, Limits()).transpose(1, 2, 0)

    assert (augment(picture, np.random.default_rng(1), spec, PLAIN) == served).all()


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(0, 2**32),
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.sampled_from(["crop", "stretch"]),
)
def test_any_picture_can_be_altered(size: tuple[int, int], seed: int, crop: float, jitter: float, fit: str) -> None:
    image = Image.new("RGB", size, (200, 30, 90))
    altering = Augmentation(crop=crop, flip=True, turn=30, jitter=jitter, mix=0)

    pixels = augment(image, np.random.default_rng(seed), replace(SPEC, fit=fit), altering)

    assert pixels.shape == (24, 24, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    if not jitter:
        assert (pixels == (200, 30, 90)).all()


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 1))
def test_what_is_grey_stays_grey(seed: int, jitter: float) -> None:
    image = Image.effect_noise((24, 24), 60).convert("RGB")

    pixels = augment(image, np.random.default_rng(seed), SPEC, replace(PLAIN, jitter=jitter)).astype(int)

    assert np.abs(pixels - pixels.mean(2, keepdims=True)).max() <= 1


def test_half_the_jitter_is_the_share_of_pictures_without_colour() -> None:
    image = Image.new("RGB", (24, 24), (180, 60, 90))
    altering = replace(PLAIN, jitter=0.5)

    drawn = [augment(image, np.random.default_rng(seed), SPEC, altering).astype(int) for seed in range(400)]

    assert 70 < sum(np.ptp(pixels, axis=2).max() <= 1 for pixels in drawn) < 130


def test_a_damaged_picture_is_named(tmp_path: Path, batches: ClassifierBatches) -> None:
    folder = draw_shapes(tmp_path / "data", train=2, test=1)
    for file in folder.rglob("disc/*.png"):
        file.write_bytes(file.read_bytes()[:60])

    with pytest.raises(DatasetError, match=r"disc/00\d\.png cannot be opened \(.*damaged.*\): remove or replace it"):
        replace(batches, folder=folder, held_out=0.5)(0)
