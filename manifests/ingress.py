"""A way in from outside the cluster. In Standard mode KServe makes none for a graph.

The host leads to the router's Service, or, where one stage needs no graph, to the transformer's. The object's name is
none that KServe gives: its own Ingress and HTTPRoute are named after the InferenceService.
"""

import re
from dataclasses import dataclass

from shardline.manifests.names import Document, Names
from shardline.manifests.sizing import Timeouts
from shardline.wire.errors import ManifestError

PORT = 80  # of the Services that KServe makes

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Attributes:
    host: that clients ask for; without one nothing is written.
    ingress_class: of an Ingress; None is the cluster's default class.
    gateway: 'name' or 'namespace/name' of a Gateway; an HTTPRoute is written then, and no Ingress.
    tls_secret: a Secret with the host's certificate, for an Ingress; a Gateway has its own.
    """

    host: str | None = None
    ingress_class: str | None = None
    gateway: str | None = None
    tls_secret: str | None = None

    def __post_init__(self) -> None:
        if self.host is None:
            if self.ingress_class or self.gateway or self.tls_secret:
                raise ManifestError("a way in needs the host name that clients ask for: give --ingress-host")
            return
        if not _HOST.fullmatch(self.host):
            raise ManifestError(f"the host {self.host!r} is no host name: write it as shardline.example.com")
        if self.gateway and (self.ingress_class or self.tls_secret):
            raise ManifestError(
                "a Gateway has its own class and certificates: give --gateway or the options of an Ingress"
            )
        for name in (self.ingress_class, self.tls_secret, *(self.gateway or "").split("/")):
            if name and not _NAME.fullmatch(name):
                raise ManifestError(f"{name!r} is no object's name: lower-case letters, digits, '-' and '.'")

    def documents(self, names: Names, times: Timeouts, body_bytes: int) -> list[Document]:
        """An HTTPRoute if there is a gateway, else an Ingress."""
        if self.host is None:
            return []
        return [self._route(names, times) if self.gateway else self._ingress(names, times, body_bytes)]

    def _ingress(self, names: Names, times: Timeouts, body_bytes: int) -> Document:
        """The annotations are ingress-nginx's, whose own limits are 1 MB and 60 s; other controllers pass them over."""
        annotations = {
            "nginx.ingress.kubernetes.io/proxy-body-size": str(body_bytes),
            "nginx.ingress.kubernetes.io/proxy-read-timeout": str(times.server_write_s),
        }
        backend = {"service": {"name": names.front, "port": {"number": PORT}}}
        path = {"path": "/", "pathType": "Prefix", "backend": backend}
        tls = {"tls": [{"hosts": [self.host], "secretName": self.tls_secret}]} if self.tls_secret else {}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": names.metadata(f"{names.app}-public", annotations=annotations),
            "spec": {
                **({"ingressClassName": self.ingress_class} if self.ingress_class else {}),
                **tls,
                "rules": [{"host": self.host, "http": {"paths": [path]}}],
            },
        }

    def _route(self, names: Names, times: Timeouts) -> Document:
        namespace, _, name = (self.gateway or "").rpartition("/")
        rule = {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [{"name": names.front, "port": PORT}],
            "timeouts": {"request": f"{times.server_write_s}s"},
        }
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": names.metadata(f"{names.app}-public"),
            "spec": {
                "parentRefs": [{"name": name, **({"namespace": namespace} if namespace else {})}],
                "hostnames": [self.host],
                "rules": [rule],
            },
        }
