"""Routes to a chain in a cluster: the URL and headers for its ingress, its Service or a port-forward."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shardline.client.port_forward import PortForward
from shardline.client.target import check_url
from shardline.wire.errors import ClusterDownError, ClusterError

if TYPE_CHECKING:
    from shardline.client.cluster import Cluster
    from shardline.client.graphs import Chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """URL and headers for requests while the route is open."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def open_route(cluster: "Cluster", chain: "Chain", ingress: str | None = None) -> Iterator[Route]:
    """Open a route through the ingress, if one is given; inside the cluster to the Service; else by a port-forward.

    The Service's address is not tried from outside: there it may belong to someone else, who would get the pictures.

    Raises:
        ClusterError: KServe has given the chain no address yet.
        UsageError: `ingress` is not a URL.
    """
    if ingress:
        yield _through_ingress(cluster, chain, check_url(ingress))
    elif cluster.in_cluster:
        yield Route(url=f"http://{chain.service}.{chain.namespace}.svc{_port(cluster, chain)}")
    else:
        with PortForward(cluster, chain.namespace, chain.service) as forward:
            yield Route(url=forward.url)


def _port(cluster: "Cluster", chain: "Chain") -> str:
    """Port suffix of the Service's URL: the pods' own port for a headless Service (KServe's `serviceClusterIPNone`).

    All other Services have port 80, which is also assumed where these credentials may not read Services.
    """
    try:
        service = cluster.get("Service", chain.namespace, chain.service)
    except ClusterDownError:
        raise
    except ClusterError:
        return ""
    if service is None or service["spec"].get("clusterIP") != "None":
        return ""
    ports = [port.get("targetPort") for port in service["spec"].get("ports") or [] if port["port"] == 80]
    return f":{ports[0]}" if ports and isinstance(ports[0], int) else ""


def _through_ingress(cluster: "Cluster", chain: "Chain", ingress: str) -> Route:
    """Route with the chain's host, and its path if KServe's `pathTemplate` gives each chain a path of its own."""
    document = cluster.get(chain.kind, chain.namespace, chain.name) or {}
    url = (document.get("status") or {}).get("url")
    if not url:
        raise ClusterError(
            f"{chain} has no status.url yet, which gives the host for the ingress: wait until it is ready"
        )
    address = urlsplit(url)
    return Route(url=ingress.rstrip("/") + address.path.rstrip("/"), headers={"Host": address.netloc})
