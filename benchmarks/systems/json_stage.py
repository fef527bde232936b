"""One shard behind a KServe server with v1 JSON, as KServe's documentation shows custom models.

Tensors are transferred as lists of numbers, v1's only form: requests and replies are `{"instances": [{name: nested
lists}]}`. The first stage takes a picture in base64 instead, and the last one replies with predictions.

    python -m benchmarks.systems.json_stage --model_name stage-1 --http_port 8081 --model_dir BUNDLE/stages/1
"""

import argparse
import base64
from pathlib import Path
from typing import Any

import numpy as np
from kserve import Model, ModelServer, model_server

from shardline.partition.runtime import Golden, load_shard
from shardline.predictors.picture import pixel_batch
from shardline.wire.limits import Limits


class JsonStage(Model):  # type: ignore[misc]  # kserve ships no types
    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self._folder = folder
        self.load()

    def load(self) -> bool:
        self._shard = load_shard(self._folder)
        self._dtypes = {name: value.dtype for name, value in Golden.load(self._folder).inputs.items()}
        self.ready = True
        return self.ready

    def predict(self, payload: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        [instance] = payload["instances"]
        outputs = self._shard.run(self._picture(instance) if "b64" in instance else self._tensors(instance))
        if not self._shard.is_last:
            return {"instances": [{name: value.tolist() for name, value in outputs.items()}]}
        [logits] = outputs.values()
        return {"predictions": [{"index": int(row.argmax())} for row in logits]}

    def _picture(self, instance: dict[str, Any]) -> dict[str, np.ndarray]:
        pixels = pixel_batch([base64.b64decode(instance["b64"])], self._shard.bundle.picture, Limits())
        return {self._shard.stage.inputs[0].name: pixels}

    def _tensors(self, instance: dict[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.asarray(value, self._dtypes[name]) for name, value in instance.items()}


def main() -> None:
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("--model_dir", type=Path, required=True)
    arguments = parser.parse_args()
    ModelServer().start([JsonStage(arguments.model_name, arguments.model_dir)])


if __name__ == "__main__":
    main()
