"""Which function does which kind of job on a target. Each is imported when it is called."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from appliance.jobs import kinds
from appliance.jobs.context import JobContext
from appliance.model import JobState
from appliance.replication.tools import Tools

Run = Callable[[JobContext, Any], JobState]

_MODULES: Final[dict[type[kinds.Spec], str]] = {
    kinds.SetUpTarget: "set_up_target",
    kinds.CheckTarget: "check_target",
    kinds.PushCopy: "push_copy",
    kinds.VerifyCopy: "verify_copy",
    kinds.TamperCopy: "tamper_copy",
    kinds.AdoptCopy: "adopt_copy",
    kinds.RunDrill: "run_drill",
}


def runs(tools: Tools) -> dict[str, Run]:
    """Return kind → ``run(context, spec)``; every job gets ``tools`` as its third argument."""
    return {spec.kind: _late(module, tools) for spec, module in _MODULES.items()}


def _late(module: str, tools: Tools) -> Run:
    def run(context: JobContext, spec: kinds.Spec) -> JobState:
        found = import_module(f"appliance.replication.jobs.{module}").run
        state: JobState = found(context, spec, tools)
        return state

    return run
