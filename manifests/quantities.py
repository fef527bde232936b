"""Sizes and amounts of CPU in Kubernetes' notation: `512Mi`, `2Gi`, `2G` (2·10⁹), `500m`, `1.5`.

The one parser of such text: for command-line options, for rendered requests and limits, and for documents that are
checked. The kubernetes package does the arithmetic; it takes a third of a second to import, so it is loaded when the
first quantity is read.
"""

import math
import re
from decimal import Decimal

from shardline.wire.errors import UsageError
from shardline.wire.limits import MIB

# apimachinery's resource.Quantity. parse_quantity takes more: blanks, underscores, "nan" and the suffix K.
_GRAMMAR = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,3})?")
_BYTES_BY_HABIT = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt])i?b?", re.IGNORECASE)  # 6MB, 6 mib, 1.5g
_INT64 = range(-(2**63), 2**63)


def parse_quantity(value: object) -> Decimal | None:
    """Read a quantity as it stands in a document: '1500m' -> 1.5, '2Gi' -> 2147483648.

    None where the API server would refuse the value.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if (isinstance(value, int) and value not in _INT64) or not _GRAMMAR.fullmatch(str(value)):
        return None
    from kubernetes.utils.quantity import parse_quantity as parse

    number: Decimal = parse(str(value))  # type: ignore[no-untyped-call]  # kubernetes ships no types
    return number


def parse_bytes(text: str, option: str) -> int:
    """Read the size that a user gave to `option`: '6Mi' -> 6291456, rounded up to whole bytes.

    Raises:
        UsageError: not a positive size in Kubernetes' notation.
    """
    size = parse_quantity(text.strip())
    if size is None or size <= 0:
        example = _suggested(text) or "6Mi, 512Mi or 2Gi"
        raise UsageError(f"{option} {text!r} is not a size: write it as Kubernetes does, e.g. {example}")
    return math.ceil(size)


def parse_cpu(text: str) -> int:
    """Read an amount of CPU in thousandths, rounded up: '100m' -> 100, '1.5' -> 1500.

    Raises:
        UsageError: not a quantity, or none at all.
    """
    cpus = parse_quantity(text)
    if cpus is None or cpus <= 0:
        raise UsageError(f"{text!r} is not an amount of CPU: write it as 500m or 2")
    return math.ceil(cpus * 1000)


def parse_memory(text: str) -> int:
    """Read an amount of memory in MiB, rounded up: '2Gi' -> 2048, '900M' -> 859.

    Raises:
        UsageError: not a quantity, or less than 1 MiB.
    """
    size = parse_quantity(text)
    if size is None or size < MIB:
        raise UsageError(
            f"{text!r} is not an amount of memory for a process: write it as {_suggested(text) or '512Mi or 2Gi'}"
        )
    return math.ceil(size / MIB)


def format_cpu(thousandths: int) -> str:
    """Write an amount of CPU as Kubernetes prints it: 1000 -> '1', 250 -> '250m'."""
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def _suggested(text: str) -> str:
    """'6MB' -> '6Mi': what was probably meant."""
    match = _BYTES_BY_HABIT.fullmatch(text.strip())
    return f"{match[1]}{match[2].upper()}i" if match else ""
