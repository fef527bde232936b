"""Triton's model repository: configs that Triton's own messages parse, which name what is in the files."""

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from services.handed_over import Numbered, bundle_of
from services.processes import ROOT
from services.small_models import residual

from shardline.formats.onnx_file import MOST_RELATIVE_ERROR
from shardline.formats.torchscript import load_torchscript
from shardline.formats.triton import LABELS_FILE, PbEnum, TritonOptions, export_triton, pbtxt
from shardline.partition.compare import relative_error
from shardline.partition.runtime import Golden
from shardline.partition.verify import LocalChain
from shardline.predictors.picture import pixel_batch
from shardline.wire.errors import FormatError

Configs = dict[str, Any]
Tensors = dict[str, np.ndarray]

_ONNX_TYPES = {"TYPE_UINT8": "tensor(uint8)", "TYPE_FP32": "tensor(float)"}


def parsed(repository: Path) -> Configs:
    if find_spec("tritonclient") is None:
        pytest.skip("tritonclient is not installed: make install")
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "services" / "triton_configs.py"), str(repository)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    configs: Configs = json.loads(done.stdout)
    return configs


def run_onnx(path: Path, given: Tensors) -> Tensors:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


def run_torchscript(path: Path, given: Tensors, config: Configs) -> Tensors:
    """By position, as Triton's backend does: names end in `__0`, `__1`."""
    ordered = sorted(given, key=lambda name: int(name.rpartition("__")[2]))
    with torch.inference_mode():
        values = load_torchscript(path)(*(torch.from_numpy(given[name]) for name in ordered))
    return {
        each["name"]: np.ascontiguousarray(value.numpy()) for each, value in zip(config["output"], values, strict=True)
    }


def ensemble(repository: Path, configs: Configs, name: str, given: Tensors) -> Tensors:
    """Run the shards' files as the ensemble's maps chain them, and in no other way."""
    known = dict(given)
    for step in configs[name]["ensemble_scheduling"]["step"]:
        model = step["model_name"]
        inputs = {key: known[value] for key, value in step["input_map"].items()}
        folder = repository / model / "1"
        outputs = (
            run_onnx(folder / "model.onnx", inputs)
            if configs[model]["platform"] == "onnxruntime_onnx"
            else run_torchscript(folder / "model.pt", inputs, configs[model])
        )
        known |= {value: outputs[key] for key, value in step["output_map"].items()}
    return {each["name"]: known[each["name"]] for each in configs[name]["output"]}


def shown(tensor: Mapping[str, Any], *, batched: bool) -> tuple[str, list[int | None]]:
    """A tensor's type and shape as onnxruntime shows them; whatever the batch decides is None."""
    dims: list[int | None] = [None if dim == "-1" else int(dim) for dim in tensor["dims"]]
    return _ONNX_TYPES[tensor["data_type"]], [None, *dims] if batched else dims


def test_onnx_shards_are_what_their_configs_say_and_chain_to_the_whole(
    resnet_bundle: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    made = export_triton(resnet_bundle, tmp_path / "out", TritonOptions(platform="onnx", batch=4, instances=2))
    configs = parsed(tmp_path / "out")
    chain = LocalChain(resnet_bundle)
    pixels = pixel_batch(photographs[:3], chain.bundle.picture, chain.bundle.limits)
    found = ensemble(tmp_path / "out", configs, "resnet", {"pixels": pixels})
    expected = chain.run_reference(pixels)[-1]

    assert [model.platform for model in made] == ["onnx"] * 3
    assert max(model.relative_error for model in made) <= MOST_RELATIVE_ERROR["fp32"]
    assert list(configs) == ["resnet", "resnet-0", "resnet-1", "resnet-2"]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert relative_error(found[name], value) <= MOST_RELATIVE_ERROR["fp32"]
        assert found[name].argmax(1).tolist() == value.argmax(1).tolist()
    for index in range(3):
        config = configs[f"resnet-{index}"]
        session = onnxruntime.InferenceSession(str(tmp_path / "out" / f"resnet-{index}" / "1" / "model.onnx"))
        for side, tensors in (("input", session.get_inputs()), ("output", session.get_outputs())):
            said = {each["name"]: shown(each, batched=True) for each in config[side]}
            there = {
                each.name: (each.type, [None if isinstance(dim, str) else dim for dim in each.shape])
                for each in tensors
            }
            assert said == there
        assert config["max_batch_size"] == 4
        assert config["dynamic_batching"] == {"max_queue_delay_microseconds": "1000"}
        assert config["instance_group"] == [{"count": 2, "kind": "KIND_CPU"}]
    assert configs["resnet-2"]["output"][0]["label_filename"] == LABELS_FILE
    assert len((tmp_path / "out" / "resnet-2" / LABELS_FILE).read_text().splitlines()) == 1000


def test_torchscript_shards_chain_to_the_whole(small_bundle: Path, tmp_path: Path) -> None:
    export_triton(small_bundle, tmp_path / "out", TritonOptions())
    configs = parsed(tmp_path / "out")
    pixels = Golden.load(small_bundle / "stages/0").inputs["pixels"]

    found = ensemble(tmp_path / "out", configs, "small", {"pixels": np.array(pixels)})

    for name, value in LocalChain(small_bundle).run_reference(pixels)[-1].items():
        assert relative_error(found[name], value) <= MOST_RELATIVE_ERROR["fp32"]
    assert [each["name"] for each in configs["small-0"]["input"]] == ["pixels__0"]
    assert configs["small-0"]["platform"] == "pytorch_libtorch"
    assert configs["small"]["platform"] == "ensemble"


def test_where_one_tensor_has_no_batch_of_its_own_none_is_batched(windows_bundle: Path, tmp_path: Path) -> None:
    export_triton(windows_bundle, tmp_path / "out", TritonOptions())
    configs = parsed(tmp_path / "out")
    pixels = np.concatenate([np.array(Golden.load(windows_bundle / "stages/0").inputs["pixels"])] * 2)

    found = ensemble(tmp_path / "out", configs, "net", {"pixels": pixels})

    for name, value in LocalChain(windows_bundle).run_reference(pixels)[-1].items():
        assert relative_error(found[name], value) <= MOST_RELATIVE_ERROR["fp32"]
    assert {config.get("max_batch_size", 0) for config in configs.values()} == {0}
    assert configs["net"]["input"][0]["dims"] == ["-1", "3", "32", "32"]
    assert not any("dynamic_batching" in config for config in configs.values())


def test_one_stage_is_one_model(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", residual(), ())

    export_triton(bundle, tmp_path / "out", TritonOptions())

    assert {path.name for path in (tmp_path / "out").iterdir()} == {"net", "README.md"}
    assert "pixels from 0 to 255" in (tmp_path / "out" / "README.md").read_text()
    assert parsed(tmp_path / "out")["net"]["platform"] == "pytorch_libtorch"


def test_a_batch_in_arithmetic_stays_a_batch(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", Numbered(), ())

    [model] = export_triton(bundle, tmp_path / "out", TritonOptions())

    assert model.relative_error == 0.0


def test_bfloat16_is_refused(rounded_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="BF16, which Triton's backend for onnx does not take"):
        export_triton(rounded_bundle, tmp_path / "out", TritonOptions(platform="onnx"))

    assert not (tmp_path / "out").exists()


def test_text_format() -> None:
    text = pbtxt({"name": 'a "b"\n', "kind": PbEnum("KIND_CPU"), "dims": [1, -1], "flag": True, "step": [{"x": 1}, {}]})

    assert text == 'name: "a \\"b\\"\\n"\nkind: KIND_CPU\ndims: [1, -1]\nflag: true\nstep {\n  x: 1\n}\nstep {\n}\n'
