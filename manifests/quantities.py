"""Kubernetes' quantities as users write them: '100m', '1.5', '2Gi', and '2Gi' for one part of the chain only."""

import math
import re
from collections.abc import Iterable, Mapping

from shardline.manifests.sizing import MIB, Overrides
from shardline.wire.errors import ManifestError

PARTS = ("stages", "transformer", "router")

_CPU = re.compile(r"(\d+)m|(\d+(?:\.\d+)?)")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)([KMGT]i|[kMGT])?")
_BYTES = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def parse_cpu(text: str) -> int:
    """'100m' -> 100, '1.5' -> 1500: thousandths of a CPU.

    Raises:
        ManifestError: no quantity, or none at all.
    """
    match = _CPU.fullmatch(text)
    thousandths = (int(match[1]) if match[1] else math.ceil(float(match[2]) * 1000)) if match else 0
    if thousandths < 1:
        raise ManifestError(f"{text!r} is no amount of CPU: write it as 500m or 2")
    return thousandths


def parse_memory(text: str) -> int:
    """'2Gi' -> 2048, '900M' -> 859: format_bytes, rounded up.

    Raises:
        ManifestError: no quantity, or none at all.
    """
    match = _MEMORY.fullmatch(text)
    size_bytes = float(match[1]) * _BYTES.get(match[2], 1) if match else 0
    if size_bytes < MIB:
        raise ManifestError(f"{text!r} is no amount of memory for a process: write it as 512Mi or 2Gi")
    return math.ceil(size_bytes / MIB)


def parse_overrides(
    *,
    cpu_requests: Iterable[str] = (),
    cpu_limits: Iterable[str] = (),
    memory_requests: Iterable[str] = (),
    memory_limits: Iterable[str] = (),
) -> dict[str, Overrides]:
    """Each of `PARTS` -> its Overrides. '500m' is for every part, 'stages=500m' for one, which then wins.

    Raises:
        ManifestError: an unknown part, no quantity, or a request above its limit.
    """
    given = {
        "cpu_request_m": {part: parse_cpu(text) for part, text in _by_part(cpu_requests).items()},
        "cpu_limit_m": {part: parse_cpu(text) for part, text in _by_part(cpu_limits).items()},
        "memory_request_mib": {part: parse_memory(text) for part, text in _by_part(memory_requests).items()},
        "memory_limit_mib": {part: parse_memory(text) for part, text in _by_part(memory_limits).items()},
    }
    return {part: Overrides(**{field: amounts.get(part) for field, amounts in given.items()}) for part in PARTS}


def _by_part(words: Iterable[str]) -> Mapping[str, str]:
    named: dict[str, str] = {}
    for_all: dict[str, str] = {}
    for word in words:
        part, equals, quantity = word.partition("=")
        if not equals:
            for_all = dict.fromkeys(PARTS, word)
        elif part in PARTS:
            named[part] = quantity
        else:
            raise ManifestError(f"{word!r} is for {part!r}: a chain's parts are {', '.join(PARTS)}")
    return for_all | named
