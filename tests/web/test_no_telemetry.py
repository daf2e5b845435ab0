"""What people ask for is told to no collector, whatever is installed beside the product."""

import opentelemetry._logs
import opentelemetry.metrics
import opentelemetry.trace
import pytest


@pytest.mark.parametrize("path", ["/healthz", "/sign-in", "/disk"])
def test_nobody_is_looked_for_who_might_be_told(owner, monkeypatch, path):
    """FastAPI speaks to OpenTelemetry where it finds it, with addresses and exceptions' texts; here it does not look."""
    asked = []
    for module, name in (
        (opentelemetry.trace, "get_tracer_provider"),
        (opentelemetry.metrics, "get_meter_provider"),
        (opentelemetry._logs, "get_logger_provider"),
    ):
        monkeypatch.setattr(module, name, lambda name=name: asked.append(name))

    assert owner.get(path, follow_redirects=False).status_code < 400
    assert asked == []
