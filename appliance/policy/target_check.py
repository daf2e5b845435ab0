"""What trying a destination found, in words: one line a check, the same in pages and terminals."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from appliance.errors import InvalidInput
from appliance.language import Language, mark, translate


class CheckOutcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"  # it could not be tried, and that is no fault


@dataclass(frozen=True, slots=True)
class TargetCheck:
    """One thing that was tried."""

    #: address · host-key · sign-in · list · identity · write · read · remove · space · disk · lock · hosting
    check: str
    outcome: CheckOutcome
    text: str  # English template over ``facts``
    facts: dict[str, object] = field(default_factory=dict)

    def words(self, language: Language) -> str:
        """Return what a person reads."""
        facts = {
            name: translate(value, language) if isinstance(value, str) else value
            for name, value in self.facts.items()
        }
        return translate(self.text, language, **facts)

    def to_json(self) -> dict[str, object]:
        """Return it as a job's result and the target's facts keep it."""
        return {
            "check": self.check,
            "outcome": self.outcome.value,
            "text": self.text,
            "facts": self.facts,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TargetCheck":
        """Return what ``to_json`` gave.

        Raises:
            InvalidInput: it is none.
        """
        try:
            return cls(
                str(values["check"]),
                CheckOutcome(values["outcome"]),
                str(values["text"]),
                dict(values["facts"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput("check", mark("a line of a check.")) from error
