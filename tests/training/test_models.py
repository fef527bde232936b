"""Short names, and the task of a model."""

from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file
from services.processes import ROOT

from shardline.partition.capture import capture, random_pixels, run_whole, whole_module
from shardline.partition.cut import cut
from shardline.partition.liveness import Liveness, analyse
from shardline.partition.models import Model, load_model
from shardline.partition.program import runnable
from shardline.storage.bundle import PictureSpec
from shardline.tasks.plates.grammar import OPTION, built_in, option_grammar, read_grammar
from shardline.tasks.registry import task_code
from shardline.training.detector.model import PlateDetector
from shardline.training.models import for_task, load_by_name
from shardline.training.samples import drawn_pictures
from shardline.training.weights import write_weights
from shardline.wire.errors import BundleError, UsageError

CLASSES = built_in().classes


def test_plates_is_a_detector_of_512_pixels() -> None:
    model = load_by_name("plates", "random:0", None)

    assert (model.reference, model.weights, model.task, model.labels) == ("plates", "random:0", "plates", CLASSES)
    assert model.picture == PictureSpec(height=512, width=512, fit="letterbox", resize=None, interpolation="bilinear")
    assert not model.module.training


def test_plates_in_another_size() -> None:
    assert load_by_name("plates", "random:0", 640).picture.width == 640
    with pytest.raises(UsageError, match=r"--size 500x500: .* multiples of 128, such as 512"):
        load_by_name("plates", "random:0", 500)


def test_weights_on_disk_may_have_half_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "half.safetensors"
    state = load_by_name("plates", "random:1", None).module.state_dict()
    save_file({name: value.half().contiguous() for name, value in state.items()}, file)

    loaded = load_by_name("plates", str(file), None).module.state_dict()

    assert {value.dtype for value in loaded.values()} == {torch.float32}
    assert all(torch.equal(loaded[name], value.half().float()) for name, value in state.items())


def test_what_is_no_short_name() -> None:
    with pytest.raises(UsageError, match=r"'plate' names no model: did you mean plates\?; allowed are plates, "):
        load_by_name("plate", None, None)
    with pytest.raises(UsageError, match="did you mean torchvision:resnet50 or timm:resnet50"):
        load_by_name("resnet50", None, None)


def test_a_short_name_has_a_task() -> None:
    with pytest.raises(UsageError, match="--task classify: plates is a model for the task plates"):
        load_by_name("plates", "random:0", None, "classify")


def test_a_detector_of_ones_own_gets_letter_boxed_pictures() -> None:
    model = load_by_name("services.plate_models:bright", None, 96, "plates")

    assert (model.task, model.labels) == ("plates", CLASSES)
    assert model.picture == PictureSpec(height=96, width=96, fit="letterbox", resize=None)


def test_a_classifier_keeps_what_it_has() -> None:
    model = load_model("services.small_models:residual", size=32)

    assert for_task(model, "classify") == model
    with pytest.raises(BundleError, match="allowed: classify, "):
        for_task(model, "weather")


def test_pictures_with_plates_to_try_with_are_the_same_every_time() -> None:
    once = drawn_pictures()

    assert len(once) == 12
    assert once == drawn_pictures()


@pytest.mark.heavy
def test_a_detector_s_shards_are_exact_where_its_outputs_are_decoded() -> None:
    """Cut behind the top-k and inside of the decoding; detector/test_model.py cuts the layers before."""
    model = load_by_name("plates", "random:0", 128)
    liveness = analyse(capture(model))
    count = len(liveness.positions)
    assert_exact(model, liveness, [[count - 1], [count - 30, count - 12]])


@pytest.mark.heavy
def test_a_detector_s_shards_are_exact_wherever_it_is_cut() -> None:
    """In 2, 3 and 5."""
    model = load_by_name("plates", "random:0", 128)
    liveness = analyse(capture(model))
    choose, count = Random(6), len(liveness.positions)
    assert_exact(model, liveness, [sorted(choose.sample(range(count), stages - 1)) for stages in (2, 2, 3, 3, 5, 5)])


def assert_exact(model: Model, liveness: Liveness, cuts: list[list[int]]) -> None:
    """The chain gives the whole's outputs to the bit, for each list of positions to cut at."""
    for indexes in cuts:
        shards = list(cut(liveness, [liveness.positions[index] for index in indexes], random_pixels(model, 2)))
        for batch in (1, 3):
            pixels = random_pixels(model, batch, seed=batch)
            tensors = [pixels]
            for shard in shards:
                with torch.inference_mode():
                    tensors = list(runnable(shard.program)(*tensors))

            for found, expected in zip(tensors, run_whole(whole_module(model), pixels), strict=True):
                assert torch.equal(found, expected)


def test_a_detector_for_another_grammar_comes_with_it(tmp_path: Path) -> None:
    """The weights file says the grammar; the model has its classes and gives it to the task."""
    grammar = read_grammar(ROOT / "examples" / "grammars" / "european.yaml")
    weights = write_weights(tmp_path, "plates", PlateDetector(grammar=grammar), {}, {OPTION: grammar.source})

    model = load_by_name("plates", str(weights), 128)

    assert model.labels == grammar.classes
    assert option_grammar(model.task_options) == grammar
    own = task_code("plates").labels  # a build refuses others
    assert own is not None
    assert own(model.task_options) == grammar.classes
    assert for_task(model, "plates").labels == grammar.classes
    with torch.inference_mode():
        outputs = model.module(torch.zeros(1, 3, 128, 128))
    assert [output.shape[2:] for output in outputs][-2:] == [(34,), (7, 35)]
    assert load_by_name("plates", None, 128).task_options == {}
