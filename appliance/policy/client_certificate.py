"""The certificate by which another sign-in service knows this box: when it ends."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from appliance.language import mark
from appliance.policy.findings import Finding, Severity

#: An authority takes some days, and so does who registers it.
WARNED_AHEAD: Final = timedelta(days=30)


def client_certificate_findings(
    services: Iterable[tuple[str, datetime]], now: datetime
) -> list[Finding]:
    """Return what there is to say about client certificates.

    Args:
        services: in use: name, and until when its certificate is good.
        now: aware.
    """
    action = mark("Make or bring the next one, and register it there: page «Signing in».")
    found = []
    for name, ends in services:
        if ends - now > WARNED_AHEAD:
            continue
        if ends <= now:
            text = mark("The certificate by which «%(name)s» knows this box has expired: nobody signs in by it.")  # fmt: skip
        else:
            text = mark("The certificate by which «%(name)s» knows this box is good for another %(left)s.")  # fmt: skip
        code = "sign-in.certificate-expired" if ends <= now else "sign-in.certificate-ends"
        facts = {"name": name, "left": ends - now}
        found.append(Finding(code, Severity.WARNING, text, action, facts))
    return found
