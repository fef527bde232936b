"""Models of torchvision and timm, captured and cut: `python -m benchmarks.zoo`.

What: each of torchvision's classification, segmentation and detection models and one small member of each of fifty
families of timm, with random weights, on small pictures. A model is captured, cut in 2, 3 and 5 at evenly spaced
positions, and the shards' outputs are compared with the whole's, to the bit, at batches 1 and 2.

Why: the table in docs/zoo.md says which models can be cut, and gives the reason where one cannot.

Ceiling: positions are spread evenly, not planned, so that nothing is measured. Each model runs in a process of its own
with limits on time and memory; results are appended to benchmarks/results/zoo.jsonl, and a run that is started again
continues where the last one stopped.
"""

import json
import resource
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report import RESULTS
from shardline.manifests.quantities import parse_bytes
from shardline.wire.errors import ShardlineError
from shardline.wire.typed import from_json, typed

if TYPE_CHECKING:
    from shardline.partition.liveness import Liveness
    from shardline.partition.models import Model

CUTS = (2, 3, 5)
RECORD = RESULTS / "zoo.jsonl"
PAGE = Path("docs") / "zoo.md"
_BATCHES = (1, 2)
_WAITING = 10  # a model may wait so many times its CPU time for other processes of the machine
# sides in pixels that networks of convolutions alone take, too
_SMALL: dict[str, int | None] = {"classify": 64, "segment": 128, "detect": 256}
_HEADINGS = {
    "timm": "timm: fifty families",
    "classify": "torchvision: classification",
    "segment": "torchvision: segmentation",
    "detect": "torchvision: detection",
}
# a small member of each of fifty families, which are timm's modules
TIMM_MODELS: tuple[str, ...] = (
    "botnet26t_256",
    "cait_xxs24_224",
    "coat_tiny",
    "convit_tiny",
    "convnext_atto",
    "crossvit_tiny_240",
    "deit_tiny_patch16_224",
    "densenet121",
    "dpn48b",
    "edgenext_xx_small",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "efficientnet_lite0",
    "efficientvit_b0",
    "efficientvit_m0",
    "ese_vovnet19b_slim_dw",
    "eva02_tiny_patch14_224",
    "fasternet_t0",
    "fastvit_t8",
    "gcvit_xxtiny",
    "ghostnet_050",
    "hardcorenas_a",
    "hgnetv2_b0",
    "hrnet_w18_small",
    "inception_next_atto",
    "legacy_seresnet18",
    "levit_128s",
    "mambaout_femto",
    "maxvit_rmlp_pico_rw_256",
    "mobilenetv3_small_050",
    "mobilevit_xxs",
    "nf_regnet_b0",
    "pit_ti_224",
    "poolformer_s12",
    "pvt_v2_b0",
    "regnetx_002",
    "repghostnet_050",
    "repvit_m0_9",
    "resnest14d",
    "resnet10t",
    "resnetv2_18",
    "rexnet_100",
    "shvit_s1",
    "skresnet18",
    "starnet_s1",
    "swiftformer_xs",
    "tiny_vit_5m_224",
    "visformer_tiny",
    "vit_tiny_patch16_224",
    "xcit_nano_12_p16_224",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooResult:
    """Result for one model.

    Attributes:
        reference: the model as `shardline build` takes it.
        group: key of `_HEADINGS`.
        size: height and width of its pictures.
        positions: number of positions at which it can be cut.
        exact: numbers of shards with outputs equal to the whole's.
        reason: the first error or difference in one line; empty where all are equal.
        seconds: time of the process.
    """

    reference: str
    group: str
    size: int = 0
    positions: int = 0
    exact: tuple[int, ...] = ()
    reason: str = ""
    seconds: float = 0.0


def main() -> None:
    options = _parse()
    if options.child:
        print(json.dumps(asdict(examine(options.child, options.group))))
        return
    if not options.page:
        run_all(options, references())
    PAGE.write_text(page(read_results()), encoding="utf-8")
    print(f"wrote {PAGE}")


def references() -> list[tuple[str, str]]:
    """Every model as group and reference: small models first, and the groups in turn."""
    import torchvision

    found = [("timm", f"timm:{name}") for name in TIMM_MODELS]
    modules = {
        "segment": torchvision.models.segmentation,
        "detect": torchvision.models.detection,
        "classify": torchvision.models,
    }
    for group, module in modules.items():
        names = torchvision.models.list_models(module=module)
        found += [(group, f"torchvision:{name}") for name in sorted(names, key=_parameters)]
    return [pair for turn in zip_longest(*_by_group(found)) for pair in turn if pair is not None]


def _by_group(found: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    return [[pair for pair in found if pair[0] == group] for group in _HEADINGS]


def _parameters(name: str) -> int:
    """Number of a torchvision model's parameters, as the documentation of its weights has it."""
    import torchvision

    return int(torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"])


def run_all(options: Namespace, wanted: Iterable[tuple[str, str]]) -> None:
    """Examine every model that the record does not have, and append its result."""
    known = {result.reference for result in read_results()}
    for group, reference in wanted:
        if reference in known or (options.only and reference not in options.only):
            continue
        result = run_one(group, reference, options.seconds, parse_bytes(options.memory, "--memory"))
        with RECORD.open("a", encoding="utf-8") as record:
            record.write(json.dumps(asdict(result)) + "\n")
        print(f"{reference}: {result.reason or 'exact'} ({result.seconds:.0f} s)", flush=True)


def run_one(group: str, reference: str, seconds: float, memory_bytes: int) -> ZooResult:
    """Examine one model in a process of its own, with limits on its time and memory."""
    command = [sys.executable, "-m", "benchmarks.zoo", "--child", reference, "--group", group]
    started = time.monotonic()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_WAITING * seconds,
            check=False,
            preexec_fn=lambda: _limit(seconds, memory_bytes),
        )
    except subprocess.TimeoutExpired:
        return ZooResult(reference=reference, group=group, reason=f"not done in {seconds:g} s", seconds=seconds)
    taken = round(time.monotonic() - started, 1)
    if done.returncode == -signal.SIGXCPU:
        return ZooResult(reference=reference, group=group, reason=f"not done in {seconds:g} s", seconds=taken)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        last = done.stderr.strip().splitlines()[-1:] or [f"ended with exit code {done.returncode}"]
        return ZooResult(reference=reference, group=group, reason=_short(last[0]), seconds=taken)
    result = from_json(ZooResult, lines[-1].encode(), error=ValueError)
    return replace(result, seconds=taken)


def _limit(seconds: float, memory_bytes: int) -> None:
    """Limit the CPU time and the memory of this process."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def examine(reference: str, group: str) -> ZooResult:
    """Capture a model, cut it, and compare shards with the whole; on native-sized pictures where small ones fail."""
    result = ZooResult(reference=reference, group=group, reason="not examined")
    for size in dict.fromkeys((_SMALL.get(group), None)):
        try:
            result = _examine(reference, group, size)
        except (ShardlineError, RuntimeError, MemoryError, AssertionError) as exc:
            result = ZooResult(reference=reference, group=group, size=size or 0, reason=_short(str(exc)))
        if not result.reason:
            break
    return result


def _examine(reference: str, group: str, size: int | None) -> ZooResult:
    """
    Raises:
        ShardlineError: the model cannot be loaded, captured or cut.
    """
    import numpy as np
    import torch

    from shardline.partition.capture import capture, random_pixels
    from shardline.partition.liveness import analyse
    from shardline.partition.prepare import prepare
    from shardline.training.models import load_by_name

    torch.set_num_threads(1)
    model = load_by_name(reference, "random:0", size)
    noise = random_pixels(model, 4).numpy()
    model = prepare(model, np.ascontiguousarray(noise))
    liveness = analyse(capture(model))
    count = len(liveness.positions)
    unequal = [stages for stages in CUTS if not _is_exact(model, liveness, stages)]
    return ZooResult(
        reference=reference,
        group=group,
        size=model.picture.height,
        positions=count,
        exact=tuple(stages for stages in CUTS if stages not in unequal),
        reason=f"differs from the whole in {', '.join(map(str, unequal))} shards" if unequal else "",
    )


def _is_exact(model: "Model", liveness: "Liveness", stages: int) -> bool:
    """Tell whether shards, cut at evenly spaced positions, give the whole's outputs to the bit."""
    import torch

    from shardline.partition.capture import random_pixels, run_whole, whole_module
    from shardline.partition.cut import cut
    from shardline.partition.program import runnable

    count = len(liveness.positions)
    chosen = [liveness.positions[count * stage // stages] for stage in range(1, stages)]
    shards = [runnable(shard.program) for shard in cut(liveness, chosen, random_pixels(model, 2))]
    for batch in _BATCHES:
        tensors = [random_pixels(model, batch, seed=batch)]
        whole = run_whole(whole_module(model), tensors[0])
        for shard in shards:
            with torch.inference_mode():
                tensors = list(shard(*tensors))
        if not all(torch.equal(found, expected) for found, expected in zip(tensors, whole, strict=True)):
            return False
    return True


def read_results() -> list[ZooResult]:
    """The results in the record; the last one of a model counts."""
    if not RECORD.is_file():
        return []
    lines = RECORD.read_text(encoding="utf-8").splitlines()
    found = [typed(ZooResult, json.loads(line), error=ValueError) for line in lines]
    return list({result.reference: result for result in found}.values())


def page(results: Sequence[ZooResult]) -> str:
    """Write docs/zoo.md: for each group, counts and a row for each model."""
    lines = [
        "# Models that were cut",
        "",
        "Written by `python -m benchmarks.zoo`. Each model has random weights. It is captured, cut in 2, 3 and 5 at",
        "evenly spaced positions, and the shards' outputs are compared with those of the whole at batches 1 and 2.",
        "Exact means equal to the bit. A model that is not listed was not tried yet: the same command goes on with it;",
        "`--page` writes this page from the results alone.",
    ]
    for group, heading in _HEADINGS.items():
        rows = sorted((result for result in results if result.group == group), key=lambda result: result.reference)
        exact = sum(not result.reason for result in rows)
        lines += ["", f"## {heading}", "", f"{exact} of the {len(rows)} that were tried are exact.", ""]
        if rows:
            lines += ["| model | side | positions | exact in | reason |", "|---|---|---|---|---|"]
        lines += [_row(result) for result in rows]
    return "\n".join(lines) + "\n"


def _row(result: ZooResult) -> str:
    reason = result.reason.replace("|", "/").replace("`", "'")
    exact = ", ".join(map(str, result.exact)) or "-"
    return f"| {result.reference} | {result.size or '-'} | {result.positions or '-'} | {exact} | {reason} |"


def _short(text: str) -> str:
    """One line without the paths of a machine."""
    line = " ".join(text.split())
    return line if len(line) <= 240 else f"{line[:237]}..."


def _parse() -> Namespace:
    parser = ArgumentParser(description="Capture and cut the models of torchvision and timm.")
    parser.add_argument(
        "--seconds", type=float, default=300, help="limit of a model's CPU time in seconds (default: %(default)g)"
    )
    parser.add_argument("--memory", default="12Gi", help="memory limit of a model (default: %(default)s)")
    parser.add_argument("--only", nargs="*", help="references to examine, e.g. timm:resnet10t (default: all)")
    parser.add_argument("--page", action="store_true", help="write the page from the record alone")
    parser.add_argument("--child", metavar="REFERENCE", help="examine this model in this process and print its result")
    parser.add_argument("--group", choices=_HEADINGS, default="classify", help="group of --child")
    return parser.parse_args()


if __name__ == "__main__":
    main()
