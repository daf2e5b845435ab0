"""The reader's process, started as the worker starts it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from appliance.catalogue.reader_client import open_file
from appliance.model import SnapshotId, SourceId
from appliance.settings import Settings

ROOT = Path(__file__).parents[2]


class ReaderProcess:
    """``with ReaderProcess(settings) as reader``: it listens when this returns."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "appliance.worker.reader_main",
                "--data",
                str(self.settings.data),
            ],
            cwd=ROOT,
            env=dict(os.environ),
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 60
        while not self.settings.reader_socket.exists():
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> bytes:
        """End it as systemd would; return what it logged."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=20)
        self.log = log
        return log

    def read(self, source: int, snapshot: int, path: bytes, offset: int = 0, length=None) -> bytes:
        with open_file(
            self.settings, SourceId(source), SnapshotId(snapshot), path, offset, length
        ) as file:
            return b"".join(file.blocks)
