"""Pictures are read by one code: clients and servers agree on every odd one."""

import subprocess
import sys

import numpy as np
import pytest
from cases.pictures import bitmap_with_alpha, odd_pictures

from shardline.client.pictures import open_upright, upright_size
from shardline.predictors.picture import open_picture
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import PictureError
from shardline.wire.limits import Limits

SPEC = PictureSpec(height=512, width=512)
ODD = odd_pictures()
REFUSED = {
    "float.tif": "whose white is not defined",
    "int32.tif": "whose white is not defined",
    "profile.png": "a colour profile or texts of over 1 MB",
    "empty.png": "not a picture: found no bytes",
    "page.png": "not a picture: found the first bytes",
    "cut_off.jpg": "truncated or damaged",
}


@pytest.mark.parametrize("name", sorted(ODD.keys() - REFUSED))
def test_client_and_server_see_the_same_pixels(name: str) -> None:
    sent = open_upright(ODD[name])
    served = open_picture(ODD[name], SPEC, Limits())

    assert np.array_equal(np.asarray(sent.convert("RGB")), np.asarray(served))
    assert upright_size(ODD[name]) == served.size


@pytest.mark.parametrize("name", REFUSED)
def test_client_and_server_refuse_the_same(name: str) -> None:
    with pytest.raises(PictureError) as by_client:
        open_upright(ODD[name])
    with pytest.raises(PictureError) as by_server:
        open_picture(ODD[name], SPEC, Limits())

    assert str(by_client.value) == str(by_server.value)
    assert REFUSED[name] in str(by_client.value)


def test_alpha_that_is_zero_everywhere_is_unused() -> None:
    opaque = np.asarray(open_upright(bitmap_with_alpha(0)))

    assert opaque.std() > 40
    assert np.asarray(open_upright(bitmap_with_alpha(128))).mean() > opaque.mean()


def test_no_other_decoder_is_imported() -> None:
    program = (
        "import sys, io\n"
        "from shardline.client.pictures import open_upright, upright_size\n"
        "try: open_upright(b'P6 1 1 255 abc')\n"
        "except Exception: pass\n"
        "upright_size(b'II*\\0aaaa')\n"
        "print(*(name for name in sys.modules if name.endswith('ImagePlugin')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert {name.removeprefix("PIL.").removesuffix("ImagePlugin") for name in done.stdout.split()} <= {
        *("Bmp", "Gif", "Jpeg", "Png", "Tiff", "WebP"),
        "Mpo",
    }
