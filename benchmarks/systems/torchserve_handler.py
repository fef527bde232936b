"""Handler of TorchServe that works as its own image classifier, with the bundle's resizing, and returns class numbers.

It runs inside TorchServe, which copies this file alone, so that it imports nothing of the project. TorchServe's own
class is not used, because importing it requires captum, an explainer.
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
        """Decode and resize: float32 [batch, 3, height, width]."""
        return torch.stack([self._pixels(row.get("data") or row["body"]) for row in data]).to(self.device)

    def _pixels(self, picture: bytes) -> torch.Tensor:
        with Image.open(io.BytesIO(picture)) as image:
            pixels: torch.Tensor = self._transform(image.convert("RGB"))
        return pixels

    def postprocess(self, data: torch.Tensor) -> list[dict[str, float]]:
        """Class and score of each row of logits, float32 [batch, classes]."""
        scores, classes = torch.softmax(data, 1).max(1)
        return [{"index": int(index), "score": float(score)} for index, score in zip(classes, scores, strict=True)]
