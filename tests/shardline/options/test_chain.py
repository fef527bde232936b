"""Options of a chain become RenderOptions; tests/shardline/commands/test_serve.py tries every one of them."""

import pytest
from typer import Typer
from typer.testing import CliRunner

from shardline.manifests.options import Overrides, RenderOptions
from shardline.options.chain import ChainOptions, takes_chain_options
from shardline.wire.errors import ShardlineError


def rendered(*words: str) -> RenderOptions:
    """The options that a command gets for these words."""
    seen: list[RenderOptions] = []
    app = Typer()

    @app.command()
    @takes_chain_options
    def command(*, chain: ChainOptions) -> None:
        seen.append(chain(storage="gs://bucket/models", name="net"))

    CliRunner().invoke(app, list(words), catch_exceptions=False)
    return seen[0]


def test_defaults() -> None:
    assert rendered() == RenderOptions(storage="gs://bucket/models", name="net")


def test_parts_and_their_quantities() -> None:
    options = rendered("--cpu-limit", "2", "--cpu-limit", "stages=4", "--memory-limit", "router=512Mi")

    assert options.stages == Overrides(cpu_limit_m=4000)
    assert options.transformer == Overrides(cpu_limit_m=2000)
    assert options.router == Overrides(cpu_limit_m=2000, memory_limit_mib=512)


def test_a_mistake_is_an_error() -> None:
    with pytest.raises(ShardlineError, match="has no '='"):
        rendered("--node-selector", "big")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cpu-target", "50"], "--cpu-target 50 is for --autoscaler hpa"),
        (["--autoscaler", "hpa", "--max-replicas", "2", "--requests-per-pod", "4"], "is for --autoscaler keda"),
        (["--gpu", "--gpu-resource", "amd.com/gpu"], "--gpu is nvidia.com/gpu, and --gpu-resource amd.com/gpu"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ShardlineError, match=message):
        rendered(*words)


def test_options_of_an_autoscaler() -> None:
    assert rendered("--autoscaler", "hpa", "--max-replicas", "2", "--cpu-target", "50").scaling.cpu_percent == 50
