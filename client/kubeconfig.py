"""Which cluster, as whom, in which namespace: a kubeconfig as kubectl reads it, or the pod's own service account.

`config` is the module `kubernetes.config`, and `configuration` what it fills: this file does not import them.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

from shardline.client.refusals import one_line
from shardline.wire.errors import ClusterError

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def _default_kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())


def has_kubeconfig() -> bool:
    return any(Path(one).exists() for one in _default_kubeconfig().split(os.pathsep) if one)


def join_own_cluster(config: Any, configuration: Any) -> str:
    """As the pod's service account; the pod's own namespace."""
    try:
        config.load_incluster_config(client_configuration=configuration)
        return (_SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip() or "default"
    except (config.ConfigException, OSError) as exc:
        raise ClusterError(
            f"this pod has no service account to ask the cluster with ({exc}): "
            "give it one (automountServiceAccountToken) or pass --kubeconfig"
        ) from exc


def read_kubeconfig(config: Any, configuration: Any, kubeconfig: str | Path | None, context: str | None) -> str:
    """Fill `configuration`; the context's namespace."""
    path = str(kubeconfig or _default_kubeconfig())
    if not any(Path(one).exists() for one in path.split(os.pathsep) if one):
        raise ClusterError(f"no kubeconfig: {path} does not exist; pass --kubeconfig or set KUBECONFIG")
    try:
        with _log_as_error(path):
            config.load_kube_config(path, context, configuration)
        contexts, current = config.list_kube_config_contexts(path)
    except ClusterError:
        raise
    except Exception as exc:  # YAML's errors, KeyError, TypeError, OSError and the library's own
        raise ClusterError(f"kubeconfig {path}: {one_line(str(exc) or type(exc).__name__, 300)}") from exc
    chosen = next((one for one in contexts if one["name"] == context), current)
    return chosen["context"].get("namespace") or "default"


@contextmanager
def _log_as_error(path: str) -> Iterator[None]:
    """A credential plugin that fails is only logged by the library, which then asks as nobody."""
    handler = BufferingHandler(capacity=1000)
    handler.setLevel(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    if handler.buffer:
        raise ClusterError(f"kubeconfig {path}: no credentials: {one_line(handler.buffer[0].getMessage(), 300)}")
