"""Turn Kubernetes API errors and connection failures into one-line messages with a remedy."""

import json

_CRDS = {"serving.kserve.io": "KServe", "keda.sh": "KEDA", "gateway.networking.k8s.io": "the Gateway API"}


def api_error(action: str, status: int, body: str | bytes, *, server: str) -> str:
    """Message for an error response of the Kubernetes API.

    Args:
        action: what was attempted, e.g. "apply InferenceGraph resnet50".
        status: HTTP status of the response; `body` is its content.
    """
    message = _message(body) or f"HTTP {status}"
    if "denied the request" in message or "failed calling webhook" in message:
        return f"{action}: {message}{_webhook_hint(message)}"
    if status == 401:
        return f"{action}: {server} does not accept these credentials (401): log in again or choose another --context"
    if status == 403:
        return f"{action}: {message} (403): ask for a role that allows it, or choose another --context or --namespace"
    if status == 404 and message.startswith("namespaces "):
        return f"{action}: {message}: create it with kubectl create namespace, or choose another --namespace"
    if status == 409 and "conflict" in message:
        return f"{action}: {message}: another tool owns these fields; leave them to it, or force the apply"
    return f"{action}: {message} ({status})"


def is_missing(status: int, body: str | bytes) -> bool:
    """Tell whether the object itself does not exist, and not its namespace."""
    return status == 404 and not _message(body).startswith("namespaces ")


def kind_not_installed(api_version: str, kind: str, server: str) -> str:
    """Message for a kind that the API server does not know."""
    product = _CRDS.get(api_version.partition("/")[0])
    if product:
        return f"{product} is not installed in this cluster: {server} has no {kind} in {api_version}"
    return f"{server} has no {kind} in {api_version}"


def one_line(text: str, max_characters: int = 600) -> str:
    """Text with all white space collapsed, cut to a length."""
    line = " ".join(text.split())
    return line if len(line) <= max_characters else f"{line[: max_characters - 1]}…"


def root_cause(exc: BaseException) -> str:
    """The operating system's message at the bottom of nested exceptions, else the exception's own."""
    inner: BaseException | None = exc
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return one_line(inner.strerror, 200)
        nested = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        inner = nested if isinstance(nested, BaseException) else inner.__cause__ or inner.__context__
    return one_line(str(exc), 200) or type(exc).__name__


def _message(body: str | bytes) -> str:
    """Message of the Status document that the API server sends with errors, or the start of the body."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    try:
        document = json.loads(text)
    except ValueError:
        return one_line(text, 200)
    message = document.get("message") if isinstance(document, dict) else None
    return one_line(message if isinstance(message, str) else text)


def _webhook_hint(message: str) -> str:
    if "failed calling webhook" in message and "kserve" in message:
        return ": is KServe's controller running? (kubectl get pods --all-namespaces | grep kserve)"
    return ""
