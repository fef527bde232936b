"""ImageNet's labels: in the order of its models, and no two are equal."""

from shardline.partition.imagenet import IMAGENET_CLASSES, imagenet_labels


def test_labels() -> None:
    labels = imagenet_labels()

    assert len(set(labels)) == IMAGENET_CLASSES
    assert (labels[3], labels[281], labels[999]) == ("tiger shark", "tabby", "toilet tissue")
