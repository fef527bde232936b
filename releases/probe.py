"""Ask a chain on the cluster for the golden picture, and compare its reply with the whole model's."""

import json
from collections.abc import Sequence

from shardline.client.cluster import Cluster
from shardline.client.fit import Body
from shardline.client.forward import Forward
from shardline.client.target import Target
from shardline.releases.golden import Agreement, compare
from shardline.releases.history import Golden
from shardline.wire.errors import ClusterError, ShardlineError


def prove_stages(cluster: Cluster, services: Sequence[str], namespace: str, golden: Golden) -> Agreement:
    """Take the picture through the stages' own Services one after the other, as the router would.

    Raises:
        ClusterError: a stage that refuses, or another reply.
    """
    body = golden.picture
    for service in services:
        document = cluster.get("InferenceService", namespace, service) or {"spec": {}}
        component = "transformer" if "transformer" in document["spec"] else "predictor"
        with Forward(cluster, namespace, f"{service}-{component}") as forward:
            body = _ask(service, f"{forward.url}/v1/models/{service}:predict", body)
    return compare(_json(services[-1], body), golden.reply, golden.tolerance)


def prove_graph(cluster: Cluster, name: str, namespace: str, golden: Golden) -> Agreement:
    """Ask the router.

    Raises:
        ClusterError: it refuses, or gives another reply.
    """
    with Forward(cluster, namespace, name) as forward:
        return compare(_json(name, _ask(name, forward.url, golden.picture)), golden.reply, golden.tolerance)


def _ask(who: str, url: str, body: bytes) -> bytes:
    try:
        return Target(url).pass_on(Body(data=body, content_type="application/octet-stream"))
    except ShardlineError as exc:
        raise ClusterError(f"{who} does not answer the golden picture: {exc}") from exc


def _json(who: str, body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError as exc:
        raise ClusterError(f"{who} answers the golden picture with {body[:80]!r}, which is no JSON") from exc
