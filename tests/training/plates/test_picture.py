"""Drawn pictures of a seed: always the same, and within what the scene allows."""

import hashlib
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import PIL
import pytest
from services.processes import ROOT

from shardline.tasks.plates.text import parse_text
from shardline.training.plates.annotations import DrawnPicture
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import families
from shardline.training.plates.picture import PlateStream
from shardline.training.plates.scene import Scene
from shardline.training.samples import sample_files
from shardline.wire.errors import UsageError


def plates(seed: int = 7, **scene: Any) -> PlateStream:
    return PlateStream(
        seed=seed,
        scene=Scene(**{"size": (160, 128), "least_width_px": 30, **scene}),
        fonts=families("train"),
        backgrounds=Backgrounds(files=tuple(sample_files())),
    )


def content(picture: DrawnPicture) -> tuple[bytes, str]:
    return picture.pixels.tobytes(), repr(picture.plates)


def test_a_picture_follows_from_its_seed_and_number_alone() -> None:
    drawn = [content(plates().draw(index)) for index in range(6)]

    assert [content(plates().draw(index)) for index in (5, 2, 0)] == [drawn[5], drawn[2], drawn[0]]
    assert [content(image) for image in map(plates().draw, (1, 3, 5))] == drawn[1::2]
    assert content(pickle.loads(pickle.dumps(plates())).draw(4)) == drawn[4]
    assert len({pixels for pixels, _ in drawn}) == 6
    assert content(plates(seed=8).draw(0)) != drawn[0]


def test_pictures_are_what_a_detector_takes() -> None:
    picture = plates().draw(0)

    assert picture.pixels.shape == (128, 160, 3)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.flags.writeable


def test_plates_keep_to_the_scene() -> None:
    scene: dict[str, Any] = {
        "plates": (1, 2),
        "empty": 0.0,
        "kinds": ("long",),
        "rotation_deg": 5.0,
        "least_width_px": 60,
        "covered": 0.0,
    }
    drawn = [plate for image in map(plates(**scene, cut_off=0).draw, range(30)) for plate in image.plates]

    assert len(drawn) >= 30
    assert {plate.kind for plate in drawn} == {"long"}
    assert {plate.font for plate in drawn} <= set(families("train"))
    assert all(abs(plate.outline.angle_deg) <= 5 + 1e-9 for plate in drawn)
    assert all(60 - 1e-9 <= plate.outline.width_px <= 0.9 * 160 + 1e-9 for plate in drawn)
    assert all(plate.readable for plate in drawn)


def test_every_character_stands_out() -> None:
    """However worn the plate and dark its surroundings."""
    drawn = [plate for image in map(plates(plates=(2, 3), empty=0.0).draw, range(40)) for plate in image.plates]

    assert min(plate.contrast for plate in drawn) > 30


def test_plates_of_one_picture_do_not_touch() -> None:
    for picture in map(plates(plates=(3, 4), empty=0.0).draw, range(20)):
        boxes = [plate.annotations[0].box for plate in picture.plates]
        for place, one in enumerate(boxes):
            for other in boxes[place + 1 :]:
                assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_a_scene_may_have_no_plates() -> None:
    assert [image.plates for image in map(plates(empty=1.0).draw, range(5))] == [()] * 5


def test_every_plate_bears_the_text_that_was_asked_for() -> None:
    drawn = list(map(plates(text=parse_text("98E 7654"), empty=0.0).draw, range(5)))

    assert {str(plate.text) for image in drawn for plate in image.plates} == {"98E 7654"}


def test_what_is_covered_is_said_to_be() -> None:
    drawn = [
        plate for image in map(plates(covered=1.0, empty=0.0, cut_off=0.0).draw, range(30)) for plate in image.plates
    ]
    unreadable = [plate for plate in drawn if not plate.readable]

    assert unreadable
    assert all(any(mark.visible < 1 for mark in plate.annotations) for plate in unreadable)
    assert any(mark.recognisable for plate in unreadable for mark in plate.annotations)


def test_as_many_characters_are_covered_as_asked_for() -> None:
    stream = plates(covered_characters=2, covered=0.0, empty=0.0, cut_off=0.0)
    drawn = [plate for image in map(stream.draw, range(5)) for plate in image.plates]

    for plate in drawn:
        hidden = [mark for mark in plate.annotations if len(mark.label) == 1 and not mark.recognisable]
        assert len(hidden) >= 2  # a cover may hide a part of a neighbour
        assert plate.readable_groups.count(False) >= 1


@pytest.mark.parametrize("count", [-1, 8])
def test_a_plate_has_seven_characters_to_cover(count: int) -> None:
    with pytest.raises(UsageError, match=f"{count} covered characters on each plate: allowed is 0 to 7"):
        Scene(covered_characters=count)


# of pictures 0 to 2 of two scenes: texts, and the start of the SHA-256 of the pixels with these versions
_NUMPY, _PILLOW = "2.4.6", "13.0.0"
_COVERED = {"covered": 1.0, "signs": 1.0, "writing": 0.5, "empty": 0.0}
_PINNED: list[tuple[dict[str, Any], int, list[str], str]] = [
    ({}, 0, [], "e88b1fcc97da2736"),
    ({}, 1, ["52D 6007", "60D 4903", "57A 8070"], "e95c7240c1d34796"),
    ({}, 2, ["30B 2760"], "4fe840ec85ebecdb"),
    (_COVERED, 0, ["14D 8332", "92C 0603"], "863226590b02ecf5"),
    (_COVERED, 1, ["52D 6007", "60D 4903", "57A 8070"], "1deea01c901ec9f0"),
    (_COVERED, 2, ["30B 2760"], "7e0e8d2f679e2644"),
]


@pytest.mark.parametrize(("scene", "index", "texts", "digest"), _PINNED)
def test_a_seed_keeps_its_pictures(scene: dict[str, Any], index: int, texts: list[str], digest: str) -> None:
    """A training and an evaluation can be repeated with a later Shardline."""
    picture = plates(**scene).draw(index)

    assert [str(plate.text) for plate in picture.plates] == texts
    if (np.__version__, PIL.__version__) == (_NUMPY, _PILLOW):
        assert hashlib.sha256(picture.pixels.tobytes()).hexdigest()[:16] == digest


def test_drawing_needs_no_torch() -> None:
    """A training's worker processes start fast and stay small."""
    lines = "import sys, shardline.training.plates.dataset; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
