"""Which function does which kind of job of the disk and of the way in. Each is imported when it is called."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from appliance.jobs import kinds
from appliance.jobs.context import JobContext
from appliance.model import JobState

Run = Callable[[JobContext, Any], JobState]

#: Kind → module of this package, whose ``run(context, spec)`` does it.
_MODULES: Final[dict[type[kinds.Spec], str]] = {
    kinds.TidyDisk: "tidy_disk",
    kinds.RestoreFolder: "folder_restore",
    kinds.VerifyIndex: "index_verify",
    kinds.SmbApply: "smb_apply",
    kinds.TunnelApply: "tunnel_apply",
    kinds.SendNotices: "notices_send",
    kinds.RenewCertificate: "certificate_renew",
}


def runs() -> dict[str, Run]:
    """Return kind → ``run(context, spec)``."""
    return {spec.kind: _late(module) for spec, module in _MODULES.items()}


def _late(module: str) -> Run:
    def run(context: JobContext, spec: kinds.Spec) -> JobState:
        found = import_module(f"appliance.worker.tasks.{module}").run
        state: JobState = found(context, spec)
        return state

    return run
