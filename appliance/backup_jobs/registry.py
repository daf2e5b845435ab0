"""Which function does which kind of job. Each is imported when it is called: Borg is heavy."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from appliance.jobs import kinds
from appliance.jobs.context import JobContext
from appliance.model import JobState

Run = Callable[[JobContext, Any], JobState]

_MODULES: Final[dict[type[kinds.Spec], str]] = {
    kinds.TakeSnapshot: "take_snapshot",
    kinds.ImportPushed: "import_pushed",
    kinds.VerifySnapshot: "verify_snapshot",
    kinds.CheckRepository: "check_repository",
    kinds.Prune: "prune",
    kinds.RebuildCatalogue: "rebuild_catalogue",
    kinds.RestoreFiles: "restore",
    kinds.CheckMachine: "check_machine",
    kinds.ProbeHostKey: "probe_host_key",
    kinds.SetUpSource: "set_up_source",
    kinds.WakeMachine: "wake_machine",
}


def _late(module: str) -> Run:
    def run(context: JobContext, spec: kinds.Spec) -> JobState:
        found: Run = import_module(f"appliance.backup_jobs.{module}").run
        return found(context, spec)

    return run


#: kind → ``run(context, spec)``.
RUN: Final[dict[str, Run]] = {spec.kind: _late(module) for spec, module in _MODULES.items()}
