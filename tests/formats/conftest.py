"""Bundles that are handed over."""

from pathlib import Path

import numpy as np
import pytest
from services import small_models
from services.handed_over import bundle_of

from shardline.partition.build import BuildOptions, build
from shardline.partition.models import load_model
from shardline.training.samples import calibration_pixels, sample_pictures


@pytest.fixture(scope="session")
def windows_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stages; at the second cut nothing has the batch as a dimension of its own."""
    folder = tmp_path_factory.mktemp("formats") / "windows"
    return bundle_of(folder, small_models.windows(), ("embed", "attention"))


@pytest.fixture(scope="session")
def resnet_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ResNet-18 at 64 pixels in three stages, with ImageNet's labels."""
    folder = tmp_path_factory.mktemp("formats") / "resnet"
    model = load_model("torchvision:resnet18", "random:0", 64)
    pictures = np.ascontiguousarray(calibration_pixels(sample_pictures()[:2], model.picture))
    build(model, "resnet", pictures, BuildOptions(cuts=("layer1", "layer3"), stages=1), folder)
    return folder
