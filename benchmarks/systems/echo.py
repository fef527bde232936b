"""An HTTP server that answers each POST at once with the bytes that came: `python -m benchmarks.systems.echo PORT`."""

import sys

from aiohttp import web


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read(), content_type="application/json")


if __name__ == "__main__":
    app = web.Application(client_max_size=64 * 1024**2)
    app.router.add_post("/{path:.*}", echo)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
