"""Any picture -> pixels: against torchvision to the bit, in every mode and turn, damaged and hostile files too."""

import io
import struct
import warnings
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

from shardline.predictors.picture import Pixels, fit_picture, fit_pictures, pixel_batch, to_pixels
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import BundleError, PictureError
from shardline.wire.limits import Limits

LIMITS = Limits()
CROP = PictureSpec(height=224, width=224, resize=232)
STRETCH = PictureSpec(height=8, width=8, fit="stretch")

SKIMAGE = Path(str(find_spec("skimage").origin)).parent / "data"  # type: ignore[union-attr]
SHIPPED = [SKIMAGE / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg")]
IMAGES = Path(__file__).parents[2].parent / "shared" / "images"
PHOTOGRAPHS = SHIPPED + sorted(IMAGES.glob("*.JPEG"))
needs_images = pytest.mark.skipif(
    not IMAGES.is_dir(), reason="shared/images, 100 photographs, is not beside the repository"
)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def gradient(width: int, height: int) -> Image.Image:
    """RGB that differs at every corner and along both sides."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = rows * 255 // max(1, height - 1), columns * 255 // max(1, width - 1)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 60)], axis=2).astype(np.uint8))


def pixels_of(image: Image.Image) -> Pixels:
    return channels_of(image.convert("RGB"))


def channels_of(image: Image.Image) -> Pixels:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def plain(picture: bytes, width: int = 8, height: int = 8) -> Pixels:
    """The picture's own pixels: nothing is resized."""
    return to_pixels(picture, PictureSpec(height=height, width=width, fit="stretch"), LIMITS)


def torchvision_crop(image: Image.Image, spec: PictureSpec) -> Pixels:
    resize = Resize(spec.resize, InterpolationMode(spec.interpolation))
    return channels_of(CenterCrop((spec.height, spec.width))(resize(image)))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.name[:24])
def test_photographs_equal_torchvision_to_the_bit(path: Path, interpolation: str) -> None:
    spec = PictureSpec(height=224, width=224, resize=232, interpolation=interpolation)
    whole = ImageOps.exif_transpose(Image.open(path)).convert("RGB")

    pixels = to_pixels(path.read_bytes(), spec, LIMITS)

    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, torchvision_crop(whole, spec))


@needs_images
def test_all_hundred_photographs_are_there() -> None:
    assert len(PHOTOGRAPHS) == len(SHIPPED) + 100


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    resize=st.integers(1, 80),
    crop=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    interpolation=st.sampled_from(["bilinear", "bicubic", "nearest"]),
    mode=st.sampled_from(["L", "RGB", "RGBA"]),
)
def test_any_size_equals_torchvision_to_the_bit(
    width: int, height: int, resize: int, crop: tuple[int, int], interpolation: str, mode: str
) -> None:
    spec = PictureSpec(height=crop[0], width=crop[1], resize=resize, interpolation=interpolation, mode=mode)
    image = gradient(width, height).convert(mode)
    if mode == "RGBA":
        image.putalpha(gradient(width, height).getchannel(0))

    np.testing.assert_array_equal(to_pixels(encode(image, "PNG"), spec, LIMITS), torchvision_crop(image, spec))


@pytest.mark.parametrize("size", [(600, 1), (1, 600), (900, 5)])
def test_a_strip_too_long_to_resize_as_a_whole_is_within_one_of_torchvision(size: tuple[int, int]) -> None:
    image = gradient(*size)
    close = to_pixels(encode(image, "PNG"), CROP, Limits(pixels=1_000_000)).astype(int) - torchvision_crop(image, CROP)

    assert abs(close).max() <= 1


@pytest.mark.parametrize("fit", ["crop", "stretch", "letterbox"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (20_000, 1), (1, 20_000), (3, 2)])
def test_tiny_and_thin_pictures_work(size: tuple[int, int], fit: str) -> None:
    spec = PictureSpec(height=200, width=224, fit=fit, resize=232)

    assert to_pixels(encode(Image.new("RGB", size, "red"), "PNG"), spec, LIMITS).shape == (3, 200, 224)


def test_a_large_jpeg_is_decoded_at_reduced_scale_and_hardly_differs() -> None:
    large = encode(Image.open(SKIMAGE / "rocket.jpg").resize((4000, 2600)), "JPEG", quality=92)
    whole = Image.open(io.BytesIO(large))

    difference = abs(to_pixels(large, CROP, LIMITS).astype(int) - torchvision_crop(whole, CROP))

    assert difference.max() <= 2
    assert difference.mean() < 0.2


def test_letterbox_keeps_the_aspect_on_grey() -> None:
    spec = PictureSpec(height=20, width=20, fit="letterbox")
    pixels = to_pixels(encode(Image.new("RGB", (100, 51), "red"), "PNG"), spec, LIMITS)

    assert (pixels[:, :5] == 114).all()
    assert (pixels[:, 15:] == 114).all()
    assert (pixels[:, 5:15] == np.array([255, 0, 0]).reshape(3, 1, 1)).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK", "YCbCr", "LA", "RGBA"])
def test_grey_is_made_of_every_mode_as_pillow_makes_it(mode: str) -> None:
    spec = PictureSpec(height=9, width=7, fit="stretch", mode="L")
    image = gradient(7, 9).convert(mode)

    picture = encode(image, "TIFF" if mode in ("CMYK", "YCbCr") else "PNG")

    np.testing.assert_array_equal(to_pixels(picture, spec, LIMITS), channels_of(image.convert("RGB").convert("L")))


def test_transparency_is_white_in_grey_and_kept_in_rgba() -> None:
    picture = encode(Image.new("RGBA", (4, 4), (200, 0, 0, 0)), "PNG")

    grey = to_pixels(picture, PictureSpec(height=4, width=4, fit="stretch", mode="L"), LIMITS)
    kept = to_pixels(picture, PictureSpec(height=4, width=4, fit="stretch", mode="RGBA"), LIMITS)

    assert grey.shape == (1, 4, 4)
    assert (grey == 255).all()
    assert kept[:, 0, 0].tolist() == [200, 0, 0, 0]


def test_an_opaque_picture_is_opaque_in_rgba() -> None:
    pixels = to_pixels(
        encode(gradient(8, 8), "JPEG"), PictureSpec(height=8, width=8, mode="RGBA", fit="stretch"), LIMITS
    )

    assert (pixels[3] == 255).all()


@pytest.mark.parametrize(("mode", "grey"), [("L", [114]), ("RGBA", [114, 114, 114, 255])])
def test_a_letterbox_is_grey_in_every_mode(mode: str, grey: list[int]) -> None:
    spec = PictureSpec(height=20, width=20, fit="letterbox", mode=mode)

    assert to_pixels(encode(gradient(100, 50), "PNG"), spec, LIMITS)[:, 0, 0].tolist() == grey


def test_an_unknown_mode_is_the_bundles_fault() -> None:
    with pytest.raises(BundleError, match="mode is 'CMYK'; allowed are L, RGB, RGBA"):
        to_pixels(encode(gradient(4, 4), "PNG"), PictureSpec(height=4, width=4, mode="CMYK"), LIMITS)


def test_stretch_is_pillow_s_resize() -> None:
    spec = PictureSpec(height=10, width=30, fit="stretch", interpolation="bicubic")
    image = gradient(17, 40)

    resized = image.resize((30, 10), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(to_pixels(encode(image, "PNG"), spec, LIMITS), pixels_of(resized))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_orientation(orientation: int, kind: str) -> None:
    image = gradient(16, 8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(orientation)
    upright = image if turn is None else image.transpose(Image.Transpose(turn))
    options: dict[str, dict[str, object]] = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}

    found = plain(encode(image, kind, exif=exif, **options.get(kind, {})), *upright.size)

    np.testing.assert_allclose(found.astype(int), pixels_of(upright), atol=4)


def test_a_large_jpeg_is_turned_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encode(gradient(4000, 2000), "JPEG", exif=exif)
    spec = PictureSpec(height=200, width=100, fit="letterbox")

    upright = gradient(4000, 2000).transpose(Image.Transpose.ROTATE_270).resize((100, 200))
    np.testing.assert_allclose(to_pixels(turned, spec, LIMITS).astype(int), pixels_of(upright), atol=4)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_leaves_the_picture_upright() -> None:
    picture = encode(gradient(8, 8), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage", quality=100, subsampling=0)

    np.testing.assert_allclose(plain(picture).astype(int), pixels_of(gradient(8, 8)), atol=4)


GREY = gradient(8, 8).convert("L")
HALF = Image.fromarray(np.full((8, 8, 4), [0, 0, 0, 128], np.uint8), "RGBA")


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (encode(GREY, "PNG"), GREY),
        (encode(GREY, "JPEG", quality=100), GREY),
        (encode(GREY.convert("1"), "PNG"), GREY.convert("1")),
        (encode(GREY.convert("1"), "TIFF", compression="group4"), GREY.convert("1")),
        (encode(gradient(8, 8).quantize(16), "PNG"), gradient(8, 8).quantize(16)),
        (encode(gradient(8, 8).quantize(16), "GIF"), gradient(8, 8).quantize(16)),
        (encode(gradient(8, 8), "BMP"), gradient(8, 8)),
        (encode(gradient(8, 8), "TIFF", compression="tiff_lzw"), gradient(8, 8)),
        (encode(gradient(8, 8), "WEBP", lossless=True), gradient(8, 8)),
        (encode(gradient(8, 8), "JPEG", progressive=True, quality=100, subsampling=0), gradient(8, 8)),
        (encode(HALF, "PNG"), Image.new("RGB", (8, 8), (127, 127, 127))),
        (encode(HALF, "WEBP", lossless=True), Image.new("RGB", (8, 8), (127, 127, 127))),
        (encode(HALF, "TIFF"), Image.new("RGB", (8, 8), (127, 127, 127))),
        (encode(HALF.convert("LA"), "PNG"), Image.new("RGB", (8, 8), (127, 127, 127))),
        (encode(Image.new("P", (8, 8), 0), "PNG", transparency=0), Image.new("RGB", (8, 8), "white")),
        (encode(Image.new("P", (8, 8), 0), "PNG", transparency=b"\x80"), Image.new("RGB", (8, 8), (127, 127, 127))),
        (encode(Image.new("P", (8, 8), 0), "GIF", transparency=0), Image.new("RGB", (8, 8), "white")),
        (encode(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3)), Image.new("RGB", (8, 8), "white")),
        (encode(Image.new("L", (8, 8), 9), "PNG", transparency=9), Image.new("RGB", (8, 8), "white")),
        (encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"), Image.new("RGB", (8, 8), "red")),
        (encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), Image.new("RGB", (8, 8), "red")),
    ],
)
def test_modes(picture: bytes, expected: Image.Image) -> None:
    np.testing.assert_allclose(plain(picture).astype(int), pixels_of(expected), atol=4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(kind: str) -> None:
    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040

    assert (plain(encode(Image.fromarray(ramp), kind)) == ramp >> 8).all()


def tiff_grey(bits: int, white_is_zero: bool, pixels: bytes) -> bytes:
    """A TIFF of 8 x 8 by hand: Pillow writes no 12-bit grey and no white-is-zero."""
    tags = {256: 8, 257: 8, 258: bits, 259: 1, 262: 0 if white_is_zero else 1, 273: 8, 277: 1, 278: 8, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + entries + b"\0" * 4


def test_twelve_bit_grey_is_scaled_by_its_own_range() -> None:
    white = plain(tiff_grey(12, False, b"\xff" * 96))

    assert (white == 255).all()


def test_sixteen_bits_with_white_at_zero_are_inverted() -> None:
    assert (plain(tiff_grey(16, True, b"\0" * 128)) == 255).all()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_grey_with_no_defined_white_is_refused(mode: str) -> None:
    with pytest.raises(PictureError, match="white is not defined: save it as 8 bits"):
        plain(encode(Image.new(mode, (8, 8)), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_picture_of_several_is_taken(kind: str) -> None:
    several = encode(
        Image.new("RGB", (8, 8), "red"), kind, save_all=True, append_images=[Image.new("RGB", (8, 8), "blue")]
    )

    np.testing.assert_allclose(plain(several)[:, 4, 4].astype(int), [255, 0, 0], atol=2)


def test_a_phone_s_jpeg_of_several_pictures_gives_the_first() -> None:
    several = encode(Image.new("RGB", (8, 8), "red"), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])

    np.testing.assert_allclose(plain(several)[:, 4, 4].astype(int), [255, 0, 0], atol=2)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises much."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\0IDAT"
    )


@pytest.mark.parametrize(("width", "height"), [(7072, 7072), (10_000, 10_000), (65_535, 65_535)])
def test_a_bomb_is_refused_by_its_header_and_without_pillow_s_warning(width: int, height: int) -> None:
    with (
        warnings.catch_warnings(record=True) as warned,
        pytest.raises(PictureError, match=r"pixels; allowed are 50\.0"),
    ):
        to_pixels(bomb(width, height), CROP, LIMITS)

    assert warned == []


@pytest.mark.parametrize(
    ("kind", "allowed"), [("JPEG", 200), ("PNG", 200), ("WEBP", 300), ("GIF", 200), ("BMP", 200), ("TIFF", 200)]
)
def test_the_limit_of_pixels_is_exact_for_every_format(kind: str, allowed: int) -> None:
    """A WebP takes half as much memory again: it may have two thirds of the pixels."""
    picture = encode(Image.new("RGB", (20, 10)), kind)
    to_pixels(picture, STRETCH, Limits(pixels=allowed))

    with pytest.raises(PictureError, match="20 x 10"):
        to_pixels(picture, STRETCH, Limits(pixels=allowed - 1))


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    jpeg = encode(gradient(64, 64), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    endless = jpeg[:-2] + jpeg[last:-2] * 200 + jpeg[-2:]

    with pytest.raises(PictureError, match="scans; allowed are 100"):
        to_pixels(endless, CROP, LIMITS)


def test_a_film_behind_a_jpeg_is_not_counted_as_scans() -> None:
    jpeg = encode(gradient(8, 8), "JPEG", quality=100, subsampling=0)

    np.testing.assert_array_equal(plain(jpeg + b"\xff\xda" * 200), plain(jpeg))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_picture_cut_anywhere_is_refused_or_still_whole(kind: str) -> None:
    picture = encode(gradient(40, 30), kind)
    whole = plain(picture)
    for length in range(len(picture)):
        try:
            found = plain(picture[:length])
        except PictureError:
            continue
        np.testing.assert_array_equal(found, whole, f"cut at {length} of {len(picture)}")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_picture_is_called_truncated(kind: str) -> None:
    picture = encode(gradient(40, 30), kind)

    with pytest.raises(PictureError, match=r"truncated.*send the whole file"):
        plain(picture[: len(picture) // 2])


@pytest.mark.filterwarnings("ignore")  # a damaged TIFF makes Pillow warn, which is no concern of ours
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_pictures_give_pixels_or_a_picture_error(kind: str, damage: list[tuple[float, int]]) -> None:
    picture = bytearray(encode(gradient(40, 30), kind))
    for place, value in damage:
        picture[int(place * len(picture))] = value
    try:
        assert plain(bytes(picture)).shape == (3, 8, 8)
    except PictureError as exc:
        assert exc.status == 400  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize("body", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0\0\x01\0", b"P6 1 1 255\n..."])
def test_other_formats_reach_no_decoder(body: bytes) -> None:
    with pytest.raises(PictureError, match=r"not a picture: found .*; allowed are JPEG, PNG"):
        to_pixels(body, CROP, LIMITS)


def test_a_batch_holds_the_pictures_in_order_and_names_the_bad_one() -> None:
    red, blue = (encode(Image.new("RGB", (9, 9), colour), "PNG") for colour in ("red", "blue"))
    batch = pixel_batch([red, blue], STRETCH, LIMITS)

    assert batch.shape == (2, 3, 8, 8)
    assert batch[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255]]
    with pytest.raises(PictureError, match="instance 1: the PNG is truncated"):
        pixel_batch([red, blue[:40], b""], STRETCH, LIMITS)


@pytest.mark.parametrize(
    "spec", [PictureSpec(height=8, width=8, fit="tile"), PictureSpec(height=8, width=8, interpolation="x")]
)
def test_an_unknown_fit_or_interpolation_is_the_bundle_s_fault(spec: PictureSpec) -> None:
    with pytest.raises(BundleError, match="allowed are"):
        to_pixels(encode(gradient(20, 10), "JPEG"), spec, LIMITS)


def found_place(pixels: Pixels) -> tuple[float, float]:
    """The middle of what is bright."""
    weight = pixels.astype(float).mean(axis=0)
    weight = np.where(weight > 8, weight, 0)  # JPEG leaves traces beside an edge
    rows, columns = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]] + 0.5
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())


def spotted(size: tuple[int, int], spot: tuple[int, int, int, int]) -> Image.Image:
    """Black, with a white rectangle (left, top, right, bottom)."""
    image = Image.new("RGB", size)
    image.paste("white", spot)
    return image


FITS = {
    "crop": PictureSpec(height=120, width=100, resize=130),
    "stretch": PictureSpec(height=120, width=100, fit="stretch"),
    "letterbox": PictureSpec(height=120, width=100, fit="letterbox"),
    "crop of what is smaller": PictureSpec(height=300, width=200, resize=90),
}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(640, 480), (333, 777), (100, 120), (61, 60)])
def test_a_view_says_where_in_the_picture_a_pixel_lies(size: tuple[int, int], fit: str) -> None:
    middle = size[0] / 2 + 3, size[1] / 2 - 5
    spot = (int(middle[0]) - 8, int(middle[1]) - 8, int(middle[0]) + 8, int(middle[1]) + 8)
    picture = spotted(size, spot)
    if fit == "letterbox":  # whose margins are grey: they would count as bright
        picture = ImageOps.expand(picture.crop((1, 1, size[0] - 1, size[1] - 1)), 1)

    fitted = fit_picture(encode(picture, "PNG"), FITS[fit], LIMITS)
    pixels = np.where(fitted.pixels == 114, 0, fitted.pixels)

    assert (fitted.view.width, fitted.view.height) == size
    where = ((spot[0] + spot[2]) / 2, (spot[1] + spot[3]) / 2)
    assert fitted.view.to_picture(found_place(pixels)) == pytest.approx(where, abs=0.6)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_view_is_of_the_upright_picture(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    picture = spotted((640, 480), (10, 20, 60, 80))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(encode(picture, "PNG", exif=exif))))
    expected = found_place(pixels_of(upright))

    fitted = fit_picture(encode(picture, "PNG", exif=exif), FITS["stretch"], LIMITS)

    assert (fitted.view.width, fitted.view.height) == upright.size
    assert fitted.view.to_picture(found_place(fitted.pixels)) == pytest.approx(expected, abs=0.6)


@pytest.mark.parametrize("fit", ["crop", "stretch", "letterbox"])
def test_decoding_at_reduced_scale_moves_no_view(fit: str) -> None:
    """4003 is no multiple of 8, and a JPEG decoded at an eighth is rounded up."""
    spec = PictureSpec(height=100, width=100, fit=fit, resize=110)
    picture = spotted((4003, 2999), (1900, 1400, 2100, 1500))
    jpeg, png = (fit_picture(encode(picture, kind), spec, LIMITS) for kind in ("JPEG", "PNG"))

    assert jpeg.view == png.view
    assert (jpeg.view.width, jpeg.view.height) == (4003, 2999)
    assert jpeg.view.to_picture(found_place(np.where(jpeg.pixels == 114, 0, jpeg.pixels))) == pytest.approx(
        (2000, 1450), abs=20
    )


@settings(max_examples=200, deadline=None)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    wanted=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    fit=st.sampled_from(["crop", "stretch", "letterbox"]),
    place=st.tuples(st.floats(0, 50), st.floats(0, 50)),
)
def test_places_go_there_and_back(
    size: tuple[int, int], wanted: tuple[int, int], fit: str, place: tuple[float, float]
) -> None:
    spec = PictureSpec(height=wanted[0], width=wanted[1], fit=fit)
    view = fit_picture(encode(Image.new("RGB", size), "PNG"), spec, LIMITS).view
    corners = view.to_network([(0, 0), size])

    assert view.to_network(view.to_picture(place)) == pytest.approx(place, abs=1e-6)
    if fit == "letterbox":  # all of the picture is in the network's input, and fills it one way
        assert corners.min() >= -1e-6
        assert (corners <= np.array((wanted[1], wanted[0])) + 1e-6).all()
        assert np.isclose(corners[1] - corners[0], (wanted[1], wanted[0])).any()
    if fit == "stretch":
        assert corners == pytest.approx(np.array([(0, 0), (wanted[1], wanted[0])]))
    if fit == "crop":  # something of the picture is in the middle of the input
        middle = view.to_picture((wanted[1] / 2, wanted[0] / 2))
        assert (np.abs(middle - np.array(size) / 2) <= np.array((view.across, view.down))).all()


def test_each_picture_has_its_view() -> None:
    pictures = [encode(Image.new("RGB", size), "PNG") for size in ((10, 20), (30, 7))]

    pixels, views = fit_pictures(pictures, STRETCH, LIMITS)

    np.testing.assert_array_equal(pixels, pixel_batch(pictures, STRETCH, LIMITS))
    assert [(view.width, view.height) for view in views] == [(10, 20), (30, 7)]
