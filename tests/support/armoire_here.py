"""The command line in this process: the same answers as ``tests.support.armoire`` without starting Python each time.

Jobs still run in processes of their own, as they always do.
"""

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from appliance import cli
from tests.support.armoire import Armoire, Ran


class ArmoireHere(Armoire):
    """Runs commands on one data folder; environment, umask and standard input are given back."""

    def __call__(self, *argv: object, stdin: str = "", timeout_s: float = 120) -> Ran:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        umask = os.umask(0o022)
        try:
            with (
                patch.dict(os.environ, self.environment),
                patch.object(sys, "stdin", io.StringIO(stdin)),
                redirect_stdout(out),
                redirect_stderr(err),
            ):
                code = cli.run([str(each) for each in argv])
        finally:
            os.umask(umask)
        out.flush()
        return Ran(code, out.buffer.getvalue(), err.getvalue())
