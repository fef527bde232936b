"""Fixtures for the tests of manifests: a bundle, free ports, and tiny steps for a router to call."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from services import processes
from services.steps import Steps

from shardline.client import waiting
from shardline.storage.bundle import Bundle, PictureSpec, Stage, Task, TensorSpec
from shardline.wire.limits import Limits

DEADLINE_S = 15


@pytest.fixture
def make_bundle() -> Callable[..., Bundle]:
    """`make_bundle(stages=3, name="resnet50", …)` -> Bundle; more keywords replace its fields."""
    return _make_bundle


def _make_bundle(*, stages: int = 3, name: str = "resnet50", **changes: object) -> Bundle:
    bundle = Bundle(
        name=name,
        model="torchvision:resnet50",
        weights="random:0",
        precision="fp32",
        torch_version="2.14.1",
        task=Task(name="classify"),
        picture=PictureSpec(height=224, width=224, fit="crop", resize=256),
        limits=Limits(),
        batch=8,
        max_instances=8,
        threads=2,
        stages=tuple(_stage(index, stages) for index in range(stages)),
    )
    return replace(bundle, **changes)  # type: ignore[arg-type]


def _stage(index: int, count: int) -> Stage:
    spec = TensorSpec(name="x", dtype="F32", shape=("batch", 512, 28, 28), dim_order=(0, 1, 2, 3))
    return Stage(
        index=index,
        cut=None if index == count - 1 else f"layer{index + 1}",
        inputs=(spec,),
        outputs=(spec,),
        model_ms=100.0,
        weight_bytes=30_000_000,
        output_bytes=1_605_632,
    )


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    return _wait_until


def _wait_until(condition: Callable[[], bool]) -> None:
    waiting.wait_until(condition, DEADLINE_S, interval_s=0.01)


@pytest.fixture
def free_port() -> Callable[[], int]:
    return processes.free_port


@pytest.fixture
def listens() -> Callable[[int], bool]:
    return processes.listens


@pytest.fixture
def steps() -> Iterator[Steps]:
    """For a router to call."""
    steps = Steps()
    yield steps
    steps.stop()


@pytest.fixture
def kserve_port() -> Iterator[int]:
    with processes.kserve_port() as port:
        yield port
