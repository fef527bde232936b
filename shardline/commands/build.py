"""`shardline build`: a model -> a bundle."""

import re
from pathlib import Path
from typing import Annotated

import typer

from shardline.console import out, say
from shardline.options import (
    BatchOption,
    CutsOption,
    DeviceOption,
    FreshOption,
    HopOption,
    LabelsOption,
    LimitOption,
    MeanOption,
    MemoryOption,
    ModelArgument,
    ObjectiveOption,
    PicturesOption,
    SizeOption,
    SpeedsOption,
    StagesOption,
    StdOption,
    TaskOption,
    WeightsOption,
    load_with_pixels,
    planning_options,
)
from shardline.storage.bundle import NAME_PATTERN
from shardline.wire.errors import BundleError, ModelError


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline build torchvision:resnet50 --weights random:0 --stages 3 --out bundles/r50")(
        build
    )


def build(
    model: ModelArgument,
    out_folder: Annotated[Path, typer.Option("--out", help="the bundle's folder")],
    weights: WeightsOption = None,
    stages: StagesOption = 3,
    cuts: CutsOption = None,
    batch: BatchOption = 1,
    size: SizeOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    labels: LabelsOption = None,
    task: TaskOption = None,
    embed: Annotated[
        bool, typer.Option("--embed", help="take out the layer that names classes, for --task retrieve")
    ] = False,
    objective: ObjectiveOption = "throughput",
    limit: LimitOption = "6Mi",
    memory_per_stage: MemoryOption = None,
    device: DeviceOption = "cpu",
    speeds: SpeedsOption = None,
    hop: HopOption = None,
    fresh: FreshOption = False,
    pictures: PicturesOption = None,
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16: of weights, activations and frames")] = "fp32",
    compile_for: Annotated[
        str | None, typer.Option("--compile", help="compile for this machine besides: cpu, cuda or cpu,cuda")
    ] = None,
    name: Annotated[str | None, typer.Option(help="the bundle's name; default: the folder's")] = None,
) -> None:
    """Capture MODEL, plan its cuts, cut it, and write the bundle."""
    from shardline.partition.build import BuildOptions
    from shardline.partition.build import build as build_bundle
    from shardline.partition.compiling import check_targets
    from shardline.samples import golden_picture
    from shardline.tables import bundle_table

    named = bundle_name(name or out_folder.name)
    targets = tuple(dict.fromkeys(part.strip() for part in compile_for.split(","))) if compile_for else ()
    check_targets(targets)
    if embed and task not in (None, "retrieve"):
        raise ModelError(f"--embed gives a model for --task retrieve, not {task}: leave one of them out")
    asked = planning_options(
        stages=stages,
        cuts=cuts,
        batch=batch,
        limit=limit,
        objective=objective,
        memory_per_stage=memory_per_stage,
        device=device,
        speeds=speeds,
        hop=hop,
        fresh=fresh,
    )
    loaded, pixels = load_with_pixels(
        model, weights, size, pictures, mean=mean, std=std, labels=labels, task=task, embed=embed
    )
    options = BuildOptions(**asked, precision=precision, targets=targets)
    golden = golden_picture(pixels[0], loaded.picture)
    bundle, _ = build_bundle(loaded, named, pixels, options, out_folder, say, golden=golden)
    out.print(bundle_table(bundle))
    out.print(f"{out_folder}: {bundle.name} {bundle.digest}")


def bundle_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not NAME_PATTERN.fullmatch(name):
        raise BundleError(f"{text!r} cannot name Kubernetes objects: begin with a letter, or give --name")
    return name
