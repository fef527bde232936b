"""What TorchServe's own image classifier does, with the bundle's resizing, answering with the class' number.

Runs inside TorchServe, which copies this one file: it imports nothing of the project. TorchServe's class itself is not
used, because it needs captum, an explainer, to be imported at all.
"""

import io
import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torchvision import transforms
from ts.torch_handler.base_handler import BaseHandler


class PictureHandler(BaseHandler):  # type: ignore[misc]  # torchserve ships no types
    def initialize(self, context: Any) -> None:
        super().initialize(context)
        spec = json.loads((Path(context.system_properties["model_dir"]) / "picture.json").read_text())
        self._transform = transforms.Compose(
            [
                transforms.Resize(spec["resize"], transforms.InterpolationMode(spec["interpolation"])),
                transforms.CenterCrop((spec["height"], spec["width"])),
                transforms.ToTensor(),
                transforms.Normalize(mean=spec["mean"], std=spec["std"]),
            ]
        )

    def preprocess(self, data: list[dict[str, bytes]]) -> torch.Tensor:
        return torch.stack([self._pixels(row.get("data") or row["body"]) for row in data]).to(self.device)

    def _pixels(self, picture: bytes) -> torch.Tensor:
        with Image.open(io.BytesIO(picture)) as image:
            pixels: torch.Tensor = self._transform(image.convert("RGB"))
        return pixels

    def postprocess(self, data: torch.Tensor) -> list[dict[str, float]]:
        scores, classes = torch.softmax(data, 1).max(1)
        return [{"index": int(index), "score": float(score)} for index, score in zip(classes, scores, strict=True)]
