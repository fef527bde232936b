"""What TorchServe is given: ResNet-50 with a bundle's weights as TorchScript, traced and frozen, and how to resize.

python -m benchmarks.systems.torchscript BUNDLE FOLDER      # writes model.pt and picture.json
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from torchvision.models import get_model

from shardline.partition.models import IMAGENET_MEAN, IMAGENET_STD
from shardline.partition.runtime import load_program
from shardline.storage.bundle import WHOLE_FILE
from shardline.storage.bundle_folder import open_bundle

_PREFIX = "model."  # the whole is the model behind its normalisation


def main(bundle_folder: Path, out: Path) -> None:
    bundle = open_bundle(bundle_folder)
    state = load_program(bundle_folder / WHOLE_FILE).state_dict
    weights = {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
    model = get_model(bundle.model.partition(":")[2], weights=None).eval()
    missing, unknown = model.load_state_dict(weights, strict=False)
    left = [name for name in missing if not name.endswith("num_batches_tracked")]  # counts training steps only
    if left or unknown:
        raise SystemExit(f"error: weights do not fit: {left[:3]} are missing, {unknown[:3]} are unknown")
    pixels = torch.zeros(1, 3, bundle.picture.height, bundle.picture.width)
    with torch.inference_mode():
        traced = torch.jit.trace(model, pixels)
        torch.jit.save(torch.jit.freeze(traced), str(out / "model.pt"))
    picture = asdict(bundle.picture) | {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    (out / "picture.json").write_text(json.dumps(picture))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
