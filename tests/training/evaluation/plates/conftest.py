"""A few drawn pictures, the same for all tests."""

import pytest

from shardline.training.evaluation.plates.pictures import DrawnPictures, PlatePicture
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import families
from shardline.training.plates.picture import PlateStream
from shardline.training.plates.scene import Scene
from shardline.training.samples import sample_files


@pytest.fixture(scope="session")
def plates() -> PlateStream:
    scene = Scene(size=(256, 224), covered=0.3)
    return PlateStream(
        seed=3, scene=scene, fonts=families("held-out")[:4], backgrounds=Backgrounds(files=tuple(sample_files()[:3]))
    )


@pytest.fixture(scope="session")
def drawn(plates: PlateStream) -> list[PlatePicture]:
    return list(DrawnPictures(plates=plates, count=16))
