"""Report of a run: JSON with machine and versions, CSV with the samples, a table in the terminal and one in the docs.

python -m benchmarks.report RESULT.json     # write its table between the markers in docs/performance.md
"""

import csv
import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.bundles import ROOT
from benchmarks.figures import ResultRow, Spread, rows
from benchmarks.systems.base import LoadSample
from shardline.wire.limits import GIB

RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs" / "performance.md"
START, END = "<!-- table: written by python -m benchmarks.report -->", "<!-- end of table -->"

_HEADINGS = ("system", "load", "images/s", "p50 ms", "p90 ms", "p99 ms", "CPU ms", "memory MiB", "")


console = Console(stderr=True)


def wide_console() -> Console:
    """Console of stdout; where that is a file, as wide as the table."""
    return Console() if sys.stdout.isatty() else Console(width=160)


def say(text: str) -> None:
    """Print a line of progress on stderr, with the time of day."""
    console.print(f"{datetime.now(UTC):%H:%M:%S} {text}", highlight=False, markup=False, soft_wrap=True)


def save(stem: Path, document: Mapping[str, Any], samples: Sequence[LoadSample]) -> None:
    """Write STEM.json and STEM.csv."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    with_samples = {**document, "samples": [asdict(sample) for sample in samples]}
    stem.with_suffix(".json").write_text(json.dumps(with_samples, indent=1) + "\n")
    with stem.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(LoadSample)])
        writer.writeheader()
        writer.writerows(asdict(sample) for sample in samples)


def load_samples(result: Path) -> tuple[dict[str, Any], list[LoadSample]]:
    document = json.loads(result.read_text())
    return document, [LoadSample(**sample) for sample in document["samples"]]


def cells(row: ResultRow) -> tuple[str, ...]:
    """Cells of one row: medians, and the range of the rounds."""
    memory = "" if row.pss_mib is None else f"{row.pss_mib:.0f}"
    notes = [f"{row.errors} errors"] if row.errors else []
    notes += [row.note] if row.note else []
    times = (row.p50_ms, row.p90_ms, row.p99_ms, row.cpu_ms)
    return (row.system, row.load, _text(row.rps), *map(_text, times), memory, ": ".join(notes)[:60])


def _text(value: Spread | None) -> str:
    if value is None:
        return "–"
    digits = 0 if value.median >= 100 else 1
    low, high = f"{value.low:.{digits}f}", f"{value.high:.{digits}f}"
    return f"{value.median:.{digits}f}" if low == high else f"{value.median:.{digits}f} ({low}–{high})"


def print_table(samples: Sequence[LoadSample], left_out: Mapping[str, str], console: Console) -> None:
    table = Table(title="medians of the rounds (range)")
    for index, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="left" if index in (0, 1, 8) else "right")
    for row in rows(samples):
        table.add_row(*cells(row))
    console.print(table)
    for system, reason in left_out.items():
        console.print(f"[bold]{system}[/bold] not measured: {reason}", highlight=False)


def markdown(document: Mapping[str, Any], samples: Sequence[LoadSample]) -> str:
    """The result as a section of a page."""
    machine = document["hardware"]
    lines = [
        f"`{document['command']}` on {document['date']}: {machine['cpu']}, {machine['cpus']} CPUs, "
        f"{machine['memory_gib']} GiB, {document['rounds']} rounds; "
        + ", ".join(f"{name} {version}" for name, version in document["versions"].items())
        + ".",
        "",
        "| " + " | ".join(_HEADINGS[:-1]) + " |",
        "|---|---|" + "---:|" * (len(_HEADINGS) - 3),
        *("| " + " | ".join(cells(row)[:-1]) + " |" for row in rows(samples)),
        "",
        *(f"- {system} was not measured: {reason}" for system, reason in document["left_out"].items()),
        *([""] if document["left_out"] else []),
        "| figure | |",
        "|---|---:|",
        *(f"| `{name}` | {_value(value)} |" for name, value in document["figures"].items()),
    ]
    return "\n".join(lines)


def _value(value: object) -> str:
    return "–" if value is None else str(value)


def write_docs(result: Path, page: Path = DOCS) -> None:
    """Write the result's table between the page's markers.

    Raises:
        ValueError: the page has no markers.
    """
    text = page.read_text()
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"{page} has no {START} … {END}: add these two lines where the table belongs")
    page.write_text(f"{before}{START}\n\n{markdown(*load_samples(result))}\n\n{END}{after}")


_PACKAGES = ("torch", "torchvision", "kserve", "numpy", "pillow", "aiohttp", "uvicorn", "uvloop")
_BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    cpu: str
    cpus: int  # available to this process
    memory_gib: float
    flags: tuple[str, ...]  # CPU flags that decide which kernels run
    system: str

    @property
    def slug(self) -> str:
        """Name of the machine for file names, such as amd-epyc-7b13-2cpu."""
        words = re.sub(r"\(.*?\)|@.*|\b\d+-core\b|\bprocessor\b|\bcpu\b", " ", self.cpu.lower())
        return "-".join(re.findall(r"[a-z0-9]+", words)) + f"-{self.cpus}cpu"

    @property
    def has_bf16(self) -> bool:
        """True if the CPU multiplies in bfloat16. Without AMX or AVX512-BF16 it is emulated, slower than fp32."""
        return not _BF16_FLAGS.isdisjoint(self.flags)


def this_machine() -> Hardware:
    """Describe the machine of this process."""
    flags = _cpuinfo("flags").split()
    return Hardware(
        cpu=_cpuinfo("model name") or platform.processor() or platform.machine(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / GIB, 1),
        flags=tuple(sorted(flag for flag in flags if flag.startswith(("amx", "avx", "fma")))),
        system=f"{platform.system()} {platform.release()}",
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the results."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


if __name__ == "__main__":
    write_docs(Path(sys.argv[1]))
