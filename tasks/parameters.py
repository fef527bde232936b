"""What a request asks of a task, checked."""

from collections.abc import Collection, Mapping

from shardline.wire.errors import RequestError
from shardline.wire.v1 import CHAIN_PARAMETERS


def check_names(parameters: Mapping[str, object], known: Collection[str]) -> None:
    """
    Raises:
        RequestError: a parameter that neither the task nor the chain knows.
    """
    unknown = sorted(parameters.keys() - set(known))
    if unknown:
        allowed = ", ".join(sorted(CHAIN_PARAMETERS.union(known)))
        raise RequestError(f"unknown parameters {', '.join(unknown)}; allowed: {allowed}")
