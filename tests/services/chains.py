"""Outputs of a bundle's stages in this process, to compare servers with."""

from pathlib import Path

import numpy as np

from shardline.partition.verify import LocalChain


def one_by_one(bundle: Path, pixels: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Each stage's outputs for uint8 [batch, 3, height, width], one instance at a time as a stage runs them.

    For bundles whose tensors have the batch as their first dimension.
    """
    chain = LocalChain(bundle)
    runs = [chain.run_stages(pixels[index : index + 1]) for index in range(len(pixels))]
    return [
        {name: np.concatenate([run[stage][name] for run in runs]) for name in outputs}
        for stage, outputs in enumerate(runs[0])
    ]
