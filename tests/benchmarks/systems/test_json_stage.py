"""A chain of shards with JSON between them, in this process: it predicts what the whole model predicts."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.systems.floor import eager
from benchmarks.systems.json_stage import JsonStage
from shardline.predictors.picture import pixel_batch
from shardline.storage.bundle import stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.limits import Limits


def test_json_between_the_stages_keeps_the_class(small_bundle: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)
    with io.BytesIO() as buffer:
        Image.fromarray(pixels).save(buffer, "PNG")
        picture = buffer.getvalue()
    payload: dict[str, Any] = {"instances": [{"b64": base64.b64encode(picture).decode()}]}
    for index in range(3):
        payload = JsonStage(f"stage-{index}", small_bundle / stage_folder(index)).predict(
            json.loads(json.dumps(payload))
        )
    expected = eager(small_bundle, "cpu")(pixel_batch([picture], open_bundle(small_bundle).picture, Limits()))

    assert payload == {"predictions": [{"index": int(expected.argmax())}]}
