"""Values of --input as a v1 request gives them, and refusals in one line."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from shardline.client.inputs import read_inputs
from shardline.client.pictures import fit_body
from shardline.wire.errors import FileError, UsageError
from shardline.wire.v1 import parse_request


def test_json_arrays_and_pictures(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.array([[0.5, 1]], np.float32))
    (tmp_path / "values.json").write_text("[1, 2]")
    (tmp_path / "other.png").write_bytes(b"png")

    found = read_inputs(
        [
            "scale=0.5",
            f"mask=@{tmp_path}/mask.npy",
            f"values=@{tmp_path}/values.json",
            f"reference=@{tmp_path}/other.png",
        ]
    )

    assert found == {
        "scale": 0.5,
        "mask": [[0.5, 1.0]],
        "values": [1, 2],
        "reference": {"b64": base64.b64encode(b"png").decode()},
    }


def test_a_body_with_inputs_is_json_and_keeps_the_limit() -> None:
    body = fit_body(b"picture", {}, 1000, {"scale": 2})

    assert body.content_type == "application/json"
    assert parse_request(body.data, ["scale"]).inputs == {"scale": (2,)}
    assert json.loads(body.data)["instances"][0]["image_bytes"]["b64"] == base64.b64encode(b"picture").decode()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["scale"], "write NAME=JSON"),
        (["a b=1"], "write NAME=JSON"),
        (["scale=NaN"], "is not JSON .NaN is not a finite number"),
        (["scale=1", "scale=2"], "given twice"),
        (["scale=x"], "is not JSON"),
        (["mask=@/nowhere/mask.npy"], "cannot be read .No such file"),
    ],
)
def test_inputs_that_cannot_be(texts: list[str], message: str) -> None:
    with pytest.raises((UsageError, FileError), match=message):
        read_inputs(texts)


def test_files_that_cannot_be(tmp_path: Path) -> None:
    np.save(tmp_path / "nan.npy", np.array([np.nan]))
    (tmp_path / "junk.npy").write_bytes(b"junk")
    (tmp_path / "a.txt").write_text("1")

    for name, message in {"nan": "allowed are finite numbers", "junk": "cannot be read"}.items():
        with pytest.raises(FileError, match=message):
            read_inputs([f"mask=@{tmp_path}/{name}.npy"])
    with pytest.raises(UsageError, match=r"a file is \.npy, \.json or a picture"):
        read_inputs([f"mask=@{tmp_path}/a.txt"])
