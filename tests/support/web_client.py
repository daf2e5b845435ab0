"""A browser's manners without a browser."""

from starlette.testclient import TestClient

from appliance.db.engine import Database
from appliance.settings import Settings
from appliance.web.app import create_app


def at_the_practice(settings: Settings, database: Database) -> TestClient:
    """Return an English reader's client that follows no redirect; ``with`` it starts the box's web side."""
    return TestClient(
        create_app(settings, database),
        base_url="https://testserver",
        headers={"sec-fetch-site": "same-origin", "accept-language": "en"},
        follow_redirects=False,
        client=("127.0.0.1", 50_000),  # at the practice: from elsewhere two factors are asked for
    )
