"""From the name of a chain in a cluster to a URL that answers, and the headers that it needs there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from shardline.client.cluster import Cluster
from shardline.client.forward import Forward
from shardline.client.graphs import Chain
from shardline.client.target import check_url
from shardline.wire.errors import ClusterDownError, ClusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where to send requests while the route is open."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def open_route(cluster: Cluster, chain: Chain, ingress: str | None = None) -> Iterator[Route]:
    """Through the ingress, where one is given; inside the cluster to the Service; else through a port-forward.

    The Service's address is not tried from outside: there it may be someone else's, who would get the pictures.

    Raises:
        ClusterError: KServe has given it no address yet.
        RequestError: `ingress` is no URL.
    """
    if ingress:
        yield _through_ingress(cluster, chain, check_url(ingress))
    elif cluster.in_cluster:
        yield Route(url=f"http://{chain.service}.{chain.namespace}.svc{_port(cluster, chain)}")
    else:
        with Forward(cluster, chain.namespace, chain.service) as forward:
            yield Route(url=forward.url)


def _port(cluster: Cluster, chain: Chain) -> str:
    """A headless Service (KServe's `serviceClusterIPNone`) is its pods' addresses, and these know their own port only.

    Whoever may not look at Services is left with port 80, which all others have.
    """
    try:
        service = cluster.get("Service", chain.namespace, chain.service)
    except ClusterDownError:
        raise
    except ClusterError:
        return ""
    if service is None or service["spec"].get("clusterIP") != "None":
        return ""
    ports = [one.get("targetPort") for one in service["spec"].get("ports") or [] if one["port"] == 80]
    return f":{ports[0]}" if ports and isinstance(ports[0], int) else ""


def _through_ingress(cluster: Cluster, chain: Chain, ingress: str) -> Route:
    """An ingress tells chains apart by their hosts, or by their paths where KServe is set up so (`pathTemplate`)."""
    document = cluster.get(chain.kind, chain.namespace, chain.name) or {}
    url = (document.get("status") or {}).get("url")
    if not url:
        raise ClusterError(f"{chain} has no status.url yet, so no host to ask the ingress for: wait until it is ready")
    there = urlsplit(url)
    return Route(url=ingress.rstrip("/") + there.path.rstrip("/"), headers={"Host": there.netloc})
