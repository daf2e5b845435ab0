"""The product's own application on plain HTTP: ``python -m tests.bench.plain_server DATA PORT``.

The product itself speaks HTTPS only; the bars of plain HTTP are measured with the same code and the same uvicorn.
"""

import sys
from pathlib import Path

import uvicorn

from appliance.settings import Settings
from appliance.web.app import create_app

if __name__ == "__main__":
    uvicorn.run(
        create_app(Settings(data=Path(sys.argv[1]))),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=30,
    )
