"""Typed uses of the Python API; mypy checks them, nothing runs them."""

from collections.abc import Callable
from typing import Any, assert_type

from PIL import Image
from torch import nn

import shardline
from shardline.manifests.rules.rule import Problem
from shardline.partition.plan import StagePlan
from shardline.partition.verify import VerifyReport


def from_model_to_bundle(network: nn.Module, progress: Callable[[str], None]) -> None:
    captured = shardline.capture("torchvision:resnet50", weights="random:0", progress=progress)
    assert_type(captured, shardline.CapturedModel)
    assert_type(shardline.capture(network, size=224, labels=["cat", "dog"]), shardline.CapturedModel)
    plan = shardline.plan(captured, stages=3, limit="6Mi", memory_per_stage=["2Gi", "1Gi", 1 << 30], device="cpu")
    assert_type(plan, shardline.ModelPlan)
    assert_type(plan.stages, tuple[StagePlan, ...])
    assert_type(plan.slowest_ms, float)
    assert_type(plan.to_dict(), dict[str, Any])
    assert_type(shardline.build(captured, "bundles/resnet50", plan=plan, compile_for="cpu"), shardline.Bundle)
    report = shardline.verify("bundles/resnet50", pictures=["cat.jpg"], random=0)
    assert_type(report, VerifyReport)
    assert_type(report.passed, bool)
    assert_type(shardline.open_bundle("bundles/resnet50").digest, str)


def documents() -> None:
    rendered = shardline.render("bundles/resnet50", storage="gs://bucket/models", namespace="vision")
    assert_type(rendered, list[dict[str, Any]])
    assert_type(shardline.lint(rendered), list[Problem])
    assert_type(shardline.lint("manifests-out", crds="crds"), list[Problem])


async def requests(picture: Image.Image) -> None:
    with shardline.Client("http://127.0.0.1:8080", options=shardline.RequestOptions(threshold=0.5)) as client:
        assert_type(client.ask(picture), shardline.Reply)
        assert_type(client.ask_many(["cat.jpg", b"..."]), list[shardline.Reply])
        assert_type(await client.ask_async("cat.jpg"), shardline.Reply)
    assert_type(shardline.__version__, str)
