"""A Kubernetes API server with scripted objects, to test clients against.

    python -m services.kubernetes_api '{"token": "t", "absent": ["serving.kserve.io"], "certificate": "FILE"}'

It knows the kinds in KINDS (but those of the `absent` groups), gets, lists by labels, patches and deletes them, hands
out a pod's logs, and forwards ports: a pod's annotations `test/log` and `test/port-PORT` say what its log is and which
port on this machine stands for its own. With `certificate` (key and certificate in one file) it speaks TLS. With
`controller` (options of kserve_controller.py) it does with what is applied and deleted what KServe would.

A test moves it along at /test/…: PUT objects (a list of documents takes the place of all), PUT refusals (a list of
{"method", "path": a part of it, "status", "message", "times"}), GET requests (what has come: method, path with query,
content type, body), PUT cut (all connections to ports break off). The first line on stdout is the port.
"""

import asyncio
import json
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSMsgType, web
from services.kserve_controller import Controller

Document = dict[str, Any]

KINDS = {
    ("v1", "ConfigMap"): "configmaps",
    ("v1", "Namespace"): "namespaces",
    ("v1", "Pod"): "pods",
    ("v1", "Service"): "services",
    ("v1", "ServiceAccount"): "serviceaccounts",
    ("apps/v1", "Deployment"): "deployments",
    ("networking.k8s.io/v1", "NetworkPolicy"): "networkpolicies",
    ("policy/v1", "PodDisruptionBudget"): "poddisruptionbudgets",
    ("serving.kserve.io/v1alpha1", "ClusterServingRuntime"): "clusterservingruntimes",
    ("serving.kserve.io/v1alpha1", "InferenceGraph"): "inferencegraphs",
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): "servingruntimes",
    ("serving.kserve.io/v1beta1", "InferenceService"): "inferenceservices",
}
CLUSTER_WIDE = {"namespaces", "clusterservingruntimes"}
OPTIONS: Document = json.loads(sys.argv[1])
OBJECTS: list[Document] = []
REFUSALS: list[Document] = []
REQUESTS: list[Document] = []
CONTROLLER = Controller(OBJECTS, OPTIONS["controller"]) if "controller" in OPTIONS else None
CONNECTIONS: set[web.WebSocketResponse] = set()


def status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "apiVersion": "v1", "message": message, "code": code}, status=code)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Record, ask for the token, and refuse what is to be refused."""
    if request.path.startswith("/test/"):
        return await handler(request)
    seen = {"method": request.method, "path": request.path_qs, "type": request.content_type}
    REQUESTS.append(seen | {"body": await request.text()})
    if OPTIONS.get("token") and request.headers.get("Authorization") != f"Bearer {OPTIONS['token']}":
        return status(401, "Unauthorized")
    for one in REFUSALS:
        if one["method"] == request.method and one["path"] in request.path and one.get("times", 1) > 0:
            one["times"] = one.get("times", 1_000_000) - 1
            return status(one["status"], one["message"])
    answer = await handler(request)
    if CONTROLLER and request.method in ("PATCH", "DELETE"):
        CONTROLLER.reconcile()
    if CONTROLLER and request.method == "GET" and request.path.endswith("/pods"):
        CONTROLLER.look()
    return answer


async def discovery(request: web.Request) -> web.Response:
    version = request.path.removeprefix("/apis/").removeprefix("/api/")
    found = [
        {"name": plural, "kind": kind, "namespaced": plural not in CLUSTER_WIDE, "verbs": ["get", "list"]}
        for (known, kind), plural in KINDS.items()
        if known == version and version.partition("/")[0] not in OPTIONS.get("absent", [])
    ]
    if not found:
        return web.Response(status=404, text="404 page not found\n")
    found.append({"name": f"{found[0]['name']}/status", "kind": found[0]["kind"], "namespaced": True})
    return web.json_response({"kind": "APIResourceList", "groupVersion": version, "resources": found})


def stored(request: web.Request) -> list[Document]:
    """What the path means: all of a kind, in a namespace where it says one, with a name where it says one."""
    kinds = {kind for (_, kind), plural in KINDS.items() if plural == request.match_info["plural"]}
    namespace, name = request.match_info.get("namespace"), request.match_info.get("name")
    return [
        one
        for one in OBJECTS
        if one["kind"] in kinds
        and namespace in (None, one["metadata"].get("namespace"))
        and name in (None, one["metadata"]["name"])
    ]


def selected(document: Document, selector: str) -> bool:
    """Equality, that there is one, and `in` with one term: what the client uses."""
    labels = document["metadata"].get("labels") or {}
    if " in (" in selector:
        key, _, values = selector.partition(" in (")
        return labels.get(key) in values.rstrip(")").split(",")
    terms = (term.partition("=") for term in selector.split(",") if term)
    return all(labels.get(key) == value if sign else key in labels for key, sign, value in terms)


async def listing(request: web.Request) -> web.Response:
    items = [one for one in stored(request) if selected(one, request.query.get("labelSelector", ""))]
    bare = [{key: value for key, value in one.items() if key not in ("kind", "apiVersion")} for one in items]
    return web.json_response({"kind": "List", "apiVersion": "v1", "items": bare})


def missing(request: web.Request) -> web.Response:
    return status(404, f'{request.match_info["plural"]} "{request.match_info["name"]}" not found')


async def get(request: web.Request) -> web.Response:
    found = stored(request)
    return web.json_response(found[0]) if found else missing(request)


async def patch(request: web.Request) -> web.Response:
    """Apply is taken whole; a merge patch is merged at the top."""
    body, found = await request.json(), stored(request)
    if request.query.get("dryRun") != "All":
        if request.content_type == "application/merge-patch+json":
            found[0].update(body)
        else:
            OBJECTS[:] = [one for one in OBJECTS if one not in found] + [body]
    return web.json_response(body)


async def delete(request: web.Request) -> web.Response:
    found = stored(request)
    OBJECTS[:] = [one for one in OBJECTS if one not in found]
    return web.json_response({"kind": "Status", "status": "Success"}) if found else missing(request)


async def log(request: web.Request) -> web.Response:
    found = stored(request)
    if not found:
        return missing(request)
    lines = (found[0]["metadata"].get("annotations") or {}).get("test/log", "").splitlines()
    return web.Response(text="\n".join(lines[-int(request.query["tailLines"]) :]))


async def port_forward(request: web.Request) -> web.StreamResponse:
    """As the kubelet does: two channels, each announced by the port's number; what fails is said on the second."""
    found = stored(request)
    if not found:
        return missing(request)
    port = int(request.query["ports"])
    websocket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
    await websocket.prepare(request)
    CONNECTIONS.add(websocket)
    for channel in (0, 1):
        await websocket.send_bytes(bytes([channel]) + port.to_bytes(2, "little"))
    backend = (found[0]["metadata"].get("annotations") or {}).get(f"test/port-{port}")
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(backend or 1))
    except OSError as exc:
        await websocket.send_bytes(b"\x01" + f"error forwarding port {port} to pod: {exc.strerror}".encode())
        await websocket.close()
        return websocket
    down = asyncio.create_task(to_client(reader, websocket))
    async for message in websocket:
        if message.type == WSMsgType.BINARY and message.data[:1] == b"\0":
            writer.write(message.data[1:])
            await writer.drain()
    down.cancel()
    writer.close()
    return websocket


async def to_client(reader: asyncio.StreamReader, websocket: web.WebSocketResponse) -> None:
    while data := await reader.read(32 * 1024):
        await websocket.send_bytes(b"\0" + data)
    await websocket.close()


async def put_objects(request: web.Request) -> web.Response:
    OBJECTS[:] = await request.json()
    return web.Response()


async def put_refusals(request: web.Request) -> web.Response:
    REFUSALS[:] = await request.json()
    return web.Response()


async def get_requests(_request: web.Request) -> web.Response:
    return web.json_response(REQUESTS)


async def cut(_request: web.Request) -> web.Response:
    """Without a farewell, as when a node dies."""
    for websocket in list(CONNECTIONS):
        transport = websocket._req.transport if websocket._req else None
        if transport:
            transport.abort()
    CONNECTIONS.clear()
    return web.Response()


def application() -> web.Application:
    app = web.Application(middlewares=[guard], client_max_size=2**26)
    app.add_routes([web.put("/test/objects", put_objects), web.put("/test/refusals", put_refusals)])
    app.add_routes([web.get("/test/requests", get_requests), web.put("/test/cut", cut)])
    app.add_routes([web.get("/api/v1", discovery), web.get("/apis/{group}/{version}", discovery)])
    for root in ("/api/v1", "/apis/{group}/{version}"):
        for where in ("", "/namespaces/{namespace}"):
            one = f"{root}{where}/{{plural}}/{{name}}"
            app.add_routes([web.get(f"{root}{where}/{{plural}}", listing), web.get(one, get)])
            app.add_routes([web.patch(one, patch), web.delete(one, delete)])
            app.add_routes([web.get(f"{one}/log", log), web.get(f"{one}/portforward", port_forward)])
    return app


async def main() -> None:
    context = None
    if "certificate" in OPTIONS:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(OPTIONS["certificate"])
    runner = web.AppRunner(application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
