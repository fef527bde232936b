"""Names of ImageNet's 1000 classes, in the order of its models."""

from torchvision.models import ResNet18_Weights

IMAGENET_CLASSES = 1000


def imagenet_labels() -> tuple[str, ...]:
    """English names of the classes, as torchvision has them; no two are equal."""
    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
