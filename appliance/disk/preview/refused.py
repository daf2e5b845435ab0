"""What every maker says when it cannot, and how it answers in words."""

import json
from typing import Any

from appliance.disk.preview.protocol import JSON, Answer


class Refusal(Exception):
    """There is no preview; ``reason`` is one of ``protocol.REASONS``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def in_json(values: Any) -> Answer:  # noqa: ANN401 - JSON
    """Return an answer that is data."""
    return Answer(JSON, json.dumps(values, separators=(",", ":"), allow_nan=False).encode())
