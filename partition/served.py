"""Proof that a bundle can be served: its stages are loaded and asked as servers do it, before the build is done.

Requests of one, two and three pictures go through the chain, each hop through a frame, and the last stage builds the
reply: as many predictions as pictures. The whole is loaded too, since `verify` and exports need it.
"""

from pathlib import Path

import numpy as np

from shardline.partition.archive import load_program
from shardline.partition.runtime import LoadedShard, chain_inputs, load_shard
from shardline.storage.bundle import WHOLE_FILE, Bundle, stage_folder
from shardline.tasks.registry import task_code
from shardline.tasks.request import Request, check_count
from shardline.wire.errors import ModelError, ShardlineError
from shardline.wire.frame import Frame, decode, encode
from shardline.wire.view import View

_BATCHES = (1, 2, 3)


def prove_served(folder: Path, bundle: Bundle, pictures: np.ndarray) -> None:
    """Load the bundle in `folder` and ask it about pictures, uint8 [n, channels, height, width], sent in this size.

    Raises:
        ModelError: it does not load, fails, or does not answer with one prediction for each picture.
    """
    at = "when it is loaded"
    try:
        load_program(folder / WHOLE_FILE)
        shards = [load_shard(folder / stage_folder(stage.index), program="portable") for stage in bundle.stages]
        for batch in (size for size in _BATCHES if size <= bundle.max_instances):
            at = f"at batch {batch}"
            _ask(shards, np.resize(pictures, (batch, *pictures.shape[1:])))
    except ShardlineError as exc:
        raise ModelError(f"{bundle.model} cannot be served: {at}: {exc}") from exc


def _ask(shards: list[LoadedShard], pixels: np.ndarray) -> None:
    view = View(height=pixels.shape[2], width=pixels.shape[3])
    frame = Frame(
        tensors=chain_inputs(shards[0], pixels),
        bundle=shards[0].digest,
        stage=0,
        views=(view,) * len(pixels),
    )
    for shard in shards:
        outputs = shard.run(decode(encode(frame)).tensors)
        frame = Frame(tensors=outputs, bundle=shard.digest, stage=shard.stage.index + 1, views=frame.views)
    task, picture = shards[-1].bundle.task, shards[-1].bundle.picture
    code = task_code(task.name)
    if code.open_index is not None:  # there is no index yet; the shapes are checked
        return
    request = Request(
        outputs=frame.tensors,
        labels=task.labels,
        options=task.options,
        views=frame.views,
        input_size=(picture.height, picture.width),
    )
    check_count(code.reply(request), len(pixels))
