"""The process that makes previews, started as the worker starts it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from appliance.disk.preview import client
from appliance.disk.preview.protocol import Answer, Do, Wanted
from appliance.errors import NotPreviewed
from appliance.settings import Settings

ROOT = Path(__file__).parents[2]


class PreviewProcess:
    """``with PreviewProcess(settings) as preview``: it listens when this returns; what it logs is in ``log``."""

    def __init__(self, settings: Settings, *options: str) -> None:
        self.settings = settings
        self.options = options
        settings.data.mkdir(parents=True, exist_ok=True)
        self._log = settings.data / "preview.log"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "appliance.worker.preview_main",
                    "--data",
                    str(self.settings.data),
                    *self.options,
                ],
                cwd=ROOT,
                env={**os.environ, "ARMOIRE_LOG_LEVEL": "DEBUG"},
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while not self.settings.preview_socket.exists():
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ask(self, path: Path, do: Do = Do.PICTURE, **more: object) -> Answer:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            wanted = Wanted(do, ending=path.suffix[1:].lower(), **more)
            return client.ask(self.settings, wanted, [descriptor])
        finally:
            os.close(descriptor)

    def refusal(self, path: Path, do: Do = Do.PICTURE, **more: object) -> str:
        """Return why there is no preview; it fails when there is one."""
        try:
            found = self.ask(path, do, **more)
        except NotPreviewed as error:
            return error.reason
        raise AssertionError(f"there is one: {found.type}, {len(found.body)} bytes")

    def ended(self) -> list[dict[str, int]]:
        """Return code, ms, cpu_ms and rss_kib of each child that ended so far."""
        return [
            {name: int(value) for name, value in re.findall(r"(\w+)=(-?\d+)", line)}
            for line in self.log.splitlines()
            if "preview ended" in line
        ]
