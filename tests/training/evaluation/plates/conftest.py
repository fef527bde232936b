"""A few drawn pictures, the same for all tests."""

import pytest

from shardline.samples import sample_files
from shardline.training.evaluation.plates.sample import Drawn, Sample
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import families
from shardline.training.plates.scene import Scene
from shardline.training.plates.stream import Plates


@pytest.fixture(scope="session")
def plates() -> Plates:
    scene = Scene(size=(256, 224), covered=0.3)
    return Plates(
        seed=3, scene=scene, fonts=families("held-out")[:4], backgrounds=Backgrounds(files=tuple(sample_files()[:3]))
    )


@pytest.fixture(scope="session")
def drawn(plates: Plates) -> list[Sample]:
    return list(Drawn(plates=plates, count=16))
