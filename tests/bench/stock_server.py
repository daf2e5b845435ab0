"""Starlette's own FileResponse in a bare application: ``python -m tests.bench.stock_server FOLDER PORT accel|whole``.

«accel» answers with X-Accel-Redirect instead: nginx in front sends the file. Neither asks for a session or a right.
"""

import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

FOLDER = Path(sys.argv[1])


async def whole(request: Request) -> Response:
    """Send the file."""
    return FileResponse(FOLDER / request.path_params["name"])


async def accel(request: Request) -> Response:
    """Say to nginx which file it is."""
    name = request.path_params["name"]
    return Response(headers={"x-accel-redirect": f"/inside/{name}"}, media_type="application/pdf")


if __name__ == "__main__":
    uvicorn.run(
        Starlette(routes=[Route("/{name:path}", accel if sys.argv[3] == "accel" else whole)]),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        proxy_headers=False,
        log_config=None,
    )
