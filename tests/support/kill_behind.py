"""``python -m tests.support.kill_behind MODULES FUNCTION --data DIR JOB_ID``: a job that dies as FUNCTION returns.

FUNCTION is the name of a function of one of the modules whose path holds MODULES (dots for slashes): SIGKILL
comes when it has done its work and before its caller hears of it.
"""

import os
import signal
import sys
from types import FrameType


def main() -> int:
    modules, function, arguments = sys.argv[1].replace(".", "/"), sys.argv[2], sys.argv[3:]
    from appliance.worker import job_main
    from appliance.worker.tasks import certificate_renew

    del certificate_renew

    def on_event(frame: FrameType, event: str, _argument: object):
        if event == "return":
            os.kill(os.getpid(), signal.SIGKILL)
        return on_event

    def on_call(frame: FrameType, _event: str, _argument: object):
        code = frame.f_code
        return on_event if code.co_name == function and modules in code.co_filename else None

    sys.settrace(on_call)
    try:
        return job_main.main(arguments)
    finally:
        sys.settrace(None)


if __name__ == "__main__":
    sys.exit(main())
