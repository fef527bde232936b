"""An HTTP server with one slow moment: `python stalling_server.py PORT STALL_AT STALL_S`.

Answers each POST with {"index": N}, N being what the body says. Request number STALL_AT, counted from 1, keeps the
whole server busy for STALL_S seconds, as a pause of a garbage collector does. The body "fail" is answered 500, "odd"
with no JSON.
"""

import sys
import time

from aiohttp import web

served = 0


async def answer(request: web.Request) -> web.Response:
    global served
    body = await request.text()
    served += 1
    if served == int(sys.argv[2]):
        time.sleep(float(sys.argv[3]))  # nobody else is answered meanwhile: that is the point
    if body == "fail":
        return web.Response(status=500, text="no")
    return web.Response(text="odd") if body == "odd" else web.json_response({"index": int(body)})


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/", answer)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
