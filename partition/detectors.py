"""torchvision's one-stage detectors as networks with outputs of a fixed shape: SSD, SSDlite, RetinaNet and FCOS.

torchvision's own `forward` resizes a list of pictures and suppresses boxes inside the network, so the number of its
outputs depends on the picture. Here backbone, head, anchors and box decoding are the same modules and operations, and
the candidates with the highest scores, a fixed number, are the outputs: the task `detect` suppresses boxes afterwards,
with the model's own thresholds. So both give the same objects for a picture of the same size.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.ssd import SSD
from torchvision.ops import clip_boxes_to_image

from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import ModelError
from shardline.wire.typed import Scalar

_SIDE = 640  # of the input of detectors that torchvision resizes to no fixed size
_LIKELY = 20  # objects with a score above 0.5 in a picture, about, where random weights are calibrated
_SPREAD = 2.0  # standard deviation of a class's logit, where random weights are calibrated

Detections = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class FixedDetector(nn.Module):
    """Network of a torchvision detector that returns a fixed number of candidates for each picture.

    It takes normalised float32 [batch, 3, height, width] and returns boxes, float32 [batch, n, 4], (left, top, right,
    bottom) in pixels, clipped to the picture, their scores, float [batch, n], and their classes, int64 [batch, n]. The
    names of its weights are those of torchvision's.
    """

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.backbone = detector.backbone
        self.head = detector.head
        self._anchor_generator = detector.anchor_generator
        self._box_coder = detector.box_coder
        self._most = int(detector.topk_candidates)

    def forward(self, pictures: torch.Tensor) -> Detections:
        """Return the candidates of pictures [batch, 3, height, width] with the highest scores, as the class says."""
        found = self.backbone(pictures)
        features = [found] if isinstance(found, torch.Tensor) else list(found.values())
        height, width = (int(side) for side in pictures.shape[2:])
        boxes, scores, classes = self._candidates(self.head(features), features, self._anchors(features, height, width))
        return clip_boxes_to_image(boxes, (height, width)), scores, classes

    @abstractmethod
    def _candidates(
        self, outputs: Mapping[str, torch.Tensor], features: Sequence[torch.Tensor], anchors: torch.Tensor
    ) -> Detections:
        """Select candidates from the head's outputs; `anchors` is float32 [anchors, 4]."""

    @abstractmethod
    def balance(self, logits: torch.Tensor) -> None:
        """Shift the head, whose classes' logits are [pictures, anchors, classes], so that few candidates are likely."""

    def class_layers(self) -> list[nn.Conv2d]:
        """The layers that return the classes' logits: one, or one for each level of features."""
        head = self.head.classification_head
        if hasattr(head, "cls_logits"):
            return [head.cls_logits]
        return [[layer for layer in level.modules() if isinstance(layer, nn.Conv2d)][-1] for level in head.module_list]

    def _anchors(self, features: Sequence[torch.Tensor], height: int, width: int) -> torch.Tensor:
        """Anchors of all levels, float32 [anchors, 4]: a constant, which export is not to trace."""
        sizes = [[int(side) for side in level.shape[2:]] for level in features]
        with _disable_current_modes():
            levels = [torch.zeros(1, 1, *size) for size in sizes]
            anchors: torch.Tensor = self._anchor_generator(
                ImageList(torch.zeros(1, 1, height, width), [(height, width)]), levels
            )[0]
        return anchors.to(features[0].device)


class FixedSsd(FixedDetector):
    """SSD and SSDlite: softmax over the classes, of which the first is the background."""

    def _candidates(
        self, outputs: Mapping[str, torch.Tensor], features: Sequence[torch.Tensor], anchors: torch.Tensor
    ) -> Detections:
        del features
        boxes = _decode(self._box_coder, outputs["bbox_regression"], anchors)
        scores = outputs["cls_logits"].softmax(-1)[:, :, 1:].transpose(1, 2)  # [batch, classes, anchors]
        best, index = scores.topk(min(self._most, len(anchors)), dim=2)
        classes = torch.arange(1, scores.shape[1] + 1, device=index.device)[:, None].expand_as(index)
        chosen = index.flatten(1)[:, :, None].expand(-1, -1, 4)
        return boxes.gather(1, chosen), best.flatten(1), classes.flatten(1)

    def balance(self, logits: torch.Tensor) -> None:
        """Give the background a logit that few of the other classes' logits, [pictures, anchors, classes], reach."""
        likely = _upper(logits[:, :, 1:], _LIKELY * len(logits))
        for layer in self.class_layers():
            assert layer.bias is not None
            layer.weight.view(-1, logits.shape[2], *layer.weight.shape[1:])[:, 0] = 0
            layer.bias.view(-1, logits.shape[2])[:, 0] = likely


class FixedRetinaNet(FixedDetector):
    """RetinaNet and FCOS: sigmoid of each class, and the candidates with the highest scores of each level."""

    def _candidates(
        self, outputs: Mapping[str, torch.Tensor], features: Sequence[torch.Tensor], anchors: torch.Tensor
    ) -> Detections:
        per_position = len(anchors) // sum(level.shape[2] * level.shape[3] for level in features)
        counts = [level.shape[2] * level.shape[3] * per_position for level in features]
        scores = self._scores(outputs)
        found = [
            self._of_level(*level)
            for level in zip(
                torch.split(scores, counts, 1),
                torch.split(outputs["bbox_regression"], counts, 1),
                torch.split(anchors, counts),
                strict=True,
            )
        ]
        boxes, best, classes = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        return boxes, best, classes

    def _scores(self, outputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        scores = outputs["cls_logits"].sigmoid()
        if "bbox_ctrness" not in outputs:
            return scores
        return torch.sqrt(scores * outputs["bbox_ctrness"].sigmoid())

    def _of_level(self, scores: torch.Tensor, deltas: torch.Tensor, anchors: torch.Tensor) -> Detections:
        classes = scores.shape[2]
        best, index = scores.flatten(1).topk(min(self._most, len(anchors) * classes), dim=1)
        anchor = index // classes
        chosen = deltas.gather(1, anchor[:, :, None].expand(-1, -1, 4))
        return _decode(self._box_coder, chosen, anchors[anchor]), best, index % classes

    def balance(self, logits: torch.Tensor) -> None:
        """Lower all logits, [pictures, anchors, classes], so that few are above 0."""
        likely = _upper(logits, _LIKELY * len(logits))
        for layer in self.class_layers():
            assert layer.bias is not None
            layer.bias -= likely


def fixed_detector(module: nn.Module) -> FixedDetector:
    """Wrap a detector of torchvision.

    Raises:
        ModelError: the number of boxes inside of this kind of detector depends on the picture.
    """
    if isinstance(module, SSD):
        return FixedSsd(module)
    if isinstance(module, RetinaNet | FCOS):
        return FixedRetinaNet(module)
    raise ModelError(
        f"a {type(module).__name__} suppresses region proposals inside of the network, so the number of its boxes "
        "depends on the picture, and shards have outputs of a fixed shape: take one of torchvision's SSD, SSDlite, "
        "RetinaNet and FCOS, or write a detector whose outputs docs/detect.md describes"
    )


def detector_picture(_: object, module: nn.Module) -> PictureSpec:
    """Preprocessing of a torchvision detector: SSD's fixed size, else a letterbox of 640 pixels a side."""
    fixed: tuple[int, int] | None = module.transform.fixed_size  # type: ignore[assignment, union-attr]
    if fixed is None:
        return PictureSpec(height=_SIDE, width=_SIDE, fit="letterbox")
    return PictureSpec(height=fixed[1], width=fixed[0], fit="stretch")


def detector_normalisation(_: object, module: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that a torchvision detector itself normalises pictures with."""
    transform: Any = module.transform
    return tuple(transform.image_mean), tuple(transform.image_std)


def detector_options(module: nn.Module) -> dict[str, Scalar]:
    """A torchvision detector's own thresholds, as options of the task `detect`; none for a two-stage detector."""
    if isinstance(module, FasterRCNN):
        return {}
    detector: Any = module
    return {
        "threshold": float(detector.score_thresh),
        "iou": float(detector.nms_thresh),
        "top": int(detector.detections_per_img),
    }


def calibrate_detector(detector: FixedDetector, whole: nn.Module, pixels: torch.Tensor) -> None:
    """Scale the head of random weights, in place, so that scores differ by picture, and few objects are likely.

    Args:
        detector: the module inside of `whole`.
        whole: takes `pixels`.
        pixels: uint8 [n, 3, height, width], real pictures.
    """
    layers = detector.class_layers()
    with torch.no_grad():
        means, stds = _statistics(layers, whole, pixels)
        for layer, mean, std in zip(layers, means, stds, strict=True):
            assert layer.bias is not None
            scale = _SPREAD / std.clamp(min=1e-12)
            layer.weight *= scale[:, None, None, None]
            layer.bias.copy_((layer.bias - mean) * scale)
        detector.balance(_class_logits(detector, whole, pixels))


def _statistics(
    layers: Sequence[nn.Conv2d], whole: nn.Module, pixels: torch.Tensor
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Mean and standard deviation of each channel of each layer's output, over all pictures and positions."""
    sums: dict[int, torch.Tensor] = {}

    def record(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        values = output.double()
        count = torch.full_like(values[0, :, 0, 0], values[:, 0].numel())
        found = torch.stack((values.sum((0, 2, 3)), values.square().sum((0, 2, 3)), count))
        sums[id(layer)] = sums.get(id(layer), torch.zeros_like(found)) + found

    hooks = [layer.register_forward_hook(record) for layer in layers]
    for picture in torch.split(pixels, 1):
        whole(picture)
    for hook in hooks:
        hook.remove()
    means, stds = [], []
    for layer in layers:
        total, squares, count = sums[id(layer)]
        means.append((total / count).float())
        stds.append((squares / count - (total / count) ** 2).clamp(min=0).sqrt().float())
    return means, stds


def _class_logits(detector: FixedDetector, whole: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Logits of the classes, [pictures, anchors, classes]."""
    found: list[torch.Tensor] = []
    hook = detector.head.register_forward_hook(lambda _, __, outputs: found.append(outputs["cls_logits"]))
    for picture in torch.split(pixels, 1):
        whole(picture)
    hook.remove()
    return torch.cat(found)


def _upper(values: torch.Tensor, count: int) -> float:
    """The value that `count` values are above."""
    return float(values.flatten().topk(min(count, values.numel())).values[-1])


def _decode(coder: Any, deltas: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Boxes from a head's regression, [batch, n, 4], and anchors, [n, 4] or [batch, n, 4], in float32."""
    deltas = deltas.float()
    if hasattr(coder, "decode_single"):
        flat = coder.decode_single(deltas.reshape(-1, 4), anchors.expand_as(deltas).reshape(-1, 4))
        return flat.reshape(deltas.shape)  # type: ignore[no-any-return]
    return coder.decode(deltas, anchors)  # type: ignore[no-any-return]
