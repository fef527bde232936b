"""Pictures with plates of the kind that tests/services/plate_reader.py reads."""

from pathlib import Path

from PIL import Image, ImageDraw

Box = tuple[int, int, int, int]  # left, top, right, bottom

EXIF_TURNED_RIGHT = 6


def with_plates(photo: Image.Image, **boxes: Box) -> Image.Image:
    """Plates of the server's kind: colours by name."""
    image = photo.copy()
    pen = ImageDraw.Draw(image)
    for colour, (left, top, right, bottom) in boxes.items():
        pen.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    return image


def saved(image: Image.Image, path: Path, *, turned: bool = False) -> Path:
    exif = Image.Exif()
    if turned:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = EXIF_TURNED_RIGHT
    image.save(path, quality=97, exif=exif)
    return path
