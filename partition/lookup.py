"""Open the index of a bundle's last shard, where its task needs one."""

from pathlib import Path

from shardline.storage.bundle import Bundle, Stage, stage_folder
from shardline.tasks.index import ENTRIES_FILE, INDEX_FILE, Index
from shardline.tasks.registry import task_code
from shardline.wire.errors import BundleError

_FLOATS = frozenset({"F16", "F32", "F64"})


def index_of(folder: Path, bundle: Bundle, stage: Stage) -> Index | None:
    """Open the index in a stage's folder, whose digests were checked; None for a stage without an index.

    Raises:
        BundleError: the task needs an index and the bundle has none, or one that does not fit the model.
    """
    opens = task_code(bundle.task.name).open_index
    if opens is None or stage.index != len(bundle.stages) - 1:
        return None
    if not set(index_files(bundle)) <= bundle.files.keys():
        raise BundleError(
            f"bundle {bundle.name} is for the task {bundle.task.name} and has no index: build one by `shardline index "
            "build --bundle FOLDER --data PICTURES`, then push and render it again"
        )
    return opens(folder, embedding_width(stage))


def index_files(bundle: Bundle) -> tuple[str, ...]:
    """Paths of a bundle's index, relative to its folder."""
    last = stage_folder(bundle.stages[-1].index)
    return f"{last}/{INDEX_FILE}", f"{last}/{ENTRIES_FILE}"


def embedding_width(stage: Stage) -> int:
    """Width of the embedding that the last stage returns for one picture.

    Raises:
        BundleError: it returns no embedding.
    """
    for spec in stage.outputs:
        if len(spec.shape) == 2 and spec.dtype in _FLOATS and isinstance(spec.shape[1], int) and spec.shape[1]:
            return spec.shape[1]
    found = ", ".join(f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in stage.outputs)
    raise BundleError(
        f"the model's outputs are {found or 'none'}; retrieve needs float [batch, width]: build it from another "
        "model, or with --embed"
    )
