"""What a server said no with, and what a library made of silence -> one line that says what to do."""

import json

_CRDS = {"serving.kserve.io": "KServe", "keda.sh": "KEDA", "gateway.networking.k8s.io": "the Gateway API"}


def refusal(what: str, status: int, body: str | bytes, *, server: str) -> str:
    """`what` was asked, as in "apply InferenceGraph resnet50"; `status` and `body` are the answer."""
    message = _message(body) or f"HTTP {status}"
    if "denied the request" in message or "failed calling webhook" in message:
        return f"{what}: {message}{_webhook_hint(message)}"
    if status == 401:
        return f"{what}: {server} does not take these credentials (401): log in again or choose another --context"
    if status == 403:
        return f"{what}: {message} (403): ask for a role that allows it, or choose another --context or --namespace"
    if status == 404 and message.startswith("namespaces "):
        return f"{what}: {message}: make it with kubectl create namespace, or choose another --namespace"
    if status == 409 and "conflict" in message:
        return f"{what}: {message}: another tool owns these fields; leave them to it, or force the apply"
    return f"{what}: {message} ({status})"


def is_missing(status: int, body: str | bytes) -> bool:
    """Whether it is the thing itself that does not exist, and not the namespace that it would be in."""
    return status == 404 and not _message(body).startswith("namespaces ")


def not_installed(api_version: str, kind: str, server: str) -> str:
    """The server does not know this kind at all."""
    product = _CRDS.get(api_version.partition("/")[0])
    if product:
        return f"{product} is not installed in this cluster: {server} has no {kind} in {api_version}"
    return f"{server} has no {kind} in {api_version}"


def one_line(text: str, most: int = 600) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def root_cause(exc: BaseException) -> str:
    """The operating system's few words at the bottom of what libraries wrap them in."""
    inner: BaseException | None = exc
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return one_line(inner.strerror, 200)
        nested = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        inner = nested if isinstance(nested, BaseException) else inner.__cause__ or inner.__context__
    return one_line(str(exc), 200) or type(exc).__name__


def _message(body: str | bytes) -> str:
    """Of the Status document that the API server answers errors with, or the body's start."""
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
