"""Options of a plan: lists, sizes and numbers as they are typed."""

import re
from typing import Any

import pytest

from shardline.options.plan import plan_arguments
from shardline.wire.errors import UsageError
from shardline.wire.limits import GIB, MIB, REQUEST_BYTES


def test_defaults() -> None:
    assert plan_arguments() == {
        "stages": 3,
        "cuts": (),
        "batch": 1,
        "objective": "throughput",
        "limit": REQUEST_BYTES,
        "memory_per_stage": (),
        "device": ("cpu",),
        "speeds": (1.0,),
        "hop": None,
        "fresh": False,
    }


def test_lists() -> None:
    given = plan_arguments(cuts="layer1, layer2", device="cpu,cuda:1", speeds="1, 2.5", hop="0,3")

    assert (given["cuts"], given["stages"]) == (("layer1", "layer2"), 3)
    assert (given["device"], given["speeds"], given["hop"]) == (("cpu", "cuda:1"), (1.0, 2.5), (0.0, 3.0))


def test_sizes_are_written_as_kubernetes_does() -> None:
    sizes = plan_arguments(memory_per_stage="2Gi, 512Mi,1.5G,100")["memory_per_stage"]

    assert sizes == (2 * GIB, 512 * MIB, 1_500_000_000, 100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speeds": "1,fast"}, "--speeds 'fast': write numbers above 0"),
        ({"speeds": "0"}, "--speeds '0': write numbers above 0"),
        ({"hop": "3"}, "--hop '3': write two numbers"),
        ({"hop": "-1,3"}, "--hop '-1': write numbers from 0"),
        ({"limit": "6MB"}, "--limit '6MB' is not a size: write it as Kubernetes does, e.g. 6Mi"),
        ({"memory_per_stage": "little"}, "--memory-per-stage 'little' is not a size: write it as"),
    ],
)
def test_a_mistake_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        plan_arguments(**options)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cuts": "a,b", "stages": 4}, "--cuts a,b gives 3 stages, and --stages 4"),
        ({"cuts": "a", "objective": "latency"}, "--objective latency is for planned cuts"),
    ],
)
def test_options_of_the_planner_do_not_go_with_given_cuts(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_arguments(**given)

    assert plan_arguments(cuts="a,b", stages=3)["stages"] == 3
