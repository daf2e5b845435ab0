"""From a reading to a finding: what is wrong, how grave it is, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from appliance.language import Language, translate
from appliance.model import SourceId
from appliance.policy.wording import in_language


class Severity(StrEnum):
    """How grave a finding is."""

    NOTICE = "notice"
    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that needs doing, in words that are translated where they are shown."""

    code: str  # area.reason, stable
    severity: Severity
    text: str  # English template over ``facts``
    action: str  # English template over ``facts``: what to do next
    facts: Mapping[str, object] = field(
        default_factory=dict
    )  # no file name; see wording.in_language
    source_id: SourceId | None = None

    def words(self, language: Language) -> str:
        """Return what is wrong."""
        return translate(self.text, language, **in_language(self.facts, language))

    def action_words(self, language: Language) -> str:
        """Return what to do next."""
        return translate(self.action, language, **in_language(self.facts, language))


_GRAVEST_FIRST = (Severity.ALARM, Severity.WARNING, Severity.NOTICE)


def gravest_first(findings: list[Finding]) -> list[Finding]:
    """Return them as a page lists them; the order within a severity stays."""
    return sorted(findings, key=lambda one: _GRAVEST_FIRST.index(one.severity))
