"""Pictures with plates to calibrate and to try a detector of plates with: the same few for everyone."""

import io

from PIL import Image

from shardline.samples import sample_files
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import families
from shardline.training.plates.scene import Scene
from shardline.training.plates.stream import Plates

_COUNT = 12
_SEED = 6
# plain to read: they are to show what a chain does with plates, not how hard a plate can be
_SCENE = Scene(
    size=(640, 480),
    plates=(1, 2),
    empty=0.0,
    least_width_px=130,
    most_width=0.5,
    rotation_deg=8,
    tilt_deg=15,
    wear=0.1,
    camera=0.1,
    covered=0.0,
    cut_off=0.0,
    signs=0.0,
)


def drawn_pictures() -> dict[str, bytes]:
    """Plates drawn onto the photographs that ship in scikit-image: name -> a PNG file's bytes.

    Raises:
        ModelError: scikit-image or the fonts are not installed.
    """
    plates = Plates(
        seed=_SEED, scene=_SCENE, fonts=families("train"), backgrounds=Backgrounds(files=tuple(sample_files()))
    )
    return {f"plates {index}": _png(Image.fromarray(plates.draw(index).pixels)) for index in range(_COUNT)}


def _png(image: Image.Image) -> bytes:
    with io.BytesIO() as buffer:
        image.save(buffer, "PNG")
        return buffer.getvalue()
