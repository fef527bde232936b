"""The weights that ship read plates in fonts they never saw; in shards and in bf16 they read the same."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

from shardline.partition.capture import capture, run_whole, whole_module
from shardline.partition.cut import cut
from shardline.partition.liveness import Liveness, analyse
from shardline.partition.models import Model
from shardline.partition.prepare import in_precision
from shardline.partition.program import runnable
from shardline.partition.tensors import to_numpy, to_torch
from shardline.predictors.picture import fit_picture
from shardline.tasks.plates.task import read_plates
from shardline.training.detector.model import OUTPUTS
from shardline.training.evaluation.plates.pictures import PlatePicture, drawn_picture
from shardline.training.evaluation.plates.readings import JudgedPlate, ReadingOutcome, judge
from shardline.training.models import load_by_name
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import families
from shardline.training.plates.picture import PlateStream
from shardline.training.plates.scene import Scene
from shardline.training.samples import sample_files
from shardline.wire.limits import Limits

COUNT = 24

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> Model:
    return load_by_name("plates", None, None)


@pytest.fixture(scope="module")
def liveness(model: Model) -> Liveness:
    return analyse(capture(model))


@pytest.fixture(scope="module")
def samples() -> list[PlatePicture]:
    photographs = Backgrounds(files=tuple(sample_files()))
    plates = PlateStream(seed=2026, scene=Scene(least_width_px=96), fonts=families("held-out"), backgrounds=photographs)
    return [drawn_picture(str(index), plates.draw(index)) for index in range(COUNT)]


def predict(
    module: torch.nn.Module, model: Model, sample: PlatePicture
) -> tuple[list[torch.Tensor], list[JudgedPlate], int]:
    """The outputs, what became of each plate, and how many were read where there is none."""
    fitted = fit_picture(sample.picture, model.picture, Limits())
    outputs = run_whole(module, torch.from_numpy(np.ascontiguousarray(fitted.pixels[None])))
    judged = judge(
        sample, read_plates(dict(zip(OUTPUTS, [output.numpy() for output in outputs], strict=True)), fitted.view)
    )
    return outputs, list(judged.plates), len(judged.false)


def test_it_reads_plates_in_fonts_that_it_never_saw(model: Model, samples: list[PlatePicture]) -> None:
    seen = [predict(whole_module(model), model, sample) for sample in samples]
    outcomes = Counter(item.outcome for _, asked, _ in seen for item in asked)

    assert outcomes[ReadingOutcome.RIGHT] >= 0.97 * outcomes.total() > 20, outcomes
    assert sum(false for _, _, false in seen) <= COUNT / 8


@pytest.mark.heavy  # the demo's test verifies a bundle of three
@pytest.mark.parametrize("stages", [2, 3, 5])
def test_shards_say_the_same_to_the_bit(
    stages: int, model: Model, liveness: Liveness, samples: list[PlatePicture]
) -> None:
    choose = random.Random(stages)
    indexes = sorted(choose.sample(range(len(liveness.positions)), stages - 1))
    pixels = np.stack([fit_picture(item.picture, model.picture, Limits()).pixels for item in samples[:2]])
    shards = list(cut(liveness, [liveness.positions[index] for index in indexes], torch.from_numpy(pixels)))

    tensors = {shards[0].inputs[0].name: pixels}
    for shard in shards:
        inputs = [to_torch(tensors[spec.name], spec) for spec in shard.inputs]
        with torch.inference_mode():
            outputs = tree_leaves(runnable(shard.program)(*inputs))
        tensors = {spec.name: to_numpy(value, spec) for spec, value in zip(shard.outputs, outputs, strict=True)}

    whole = run_whole(whole_module(model), torch.from_numpy(pixels))
    for spec, wanted in zip(shards[-1].outputs, whole, strict=True):
        assert torch.equal(to_torch(tensors[spec.name], spec), wanted)


def test_the_same_plates_are_read_in_bf16(model: Model, samples: list[PlatePicture]) -> None:
    halved = whole_module(in_precision(model, "bf16"))

    for sample in samples[:3]:
        _, exact, _ = predict(whole_module(model), model, sample)
        _, rounded, _ = predict(halved, model, sample)
        assert [item.outcome for item in rounded] == [item.outcome for item in exact]
