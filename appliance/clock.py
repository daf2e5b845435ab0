"""The only place that asks what time it is."""

from datetime import UTC, datetime, timedelta


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(tz=UTC)  # noqa: TID251 - this is the door the ban points to


def from_epoch(seconds: float) -> datetime:
    """Return the aware UTC time of a Unix time in seconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
