"""Fixtures every test may ask for. Real programs only; each ends what it started."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from appliance.settings import Settings
from tests.support.sshd import SshServer

hypothesis_settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
hypothesis_settings.register_profile("search", deadline=None, max_examples=2_000, database=None)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def sshd() -> Iterator[SshServer]:
    """A real OpenSSH server of this test's own, that lets nobody in yet."""
    with SshServer() as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a box whose data folder is empty."""
    data = tmp_path / "data"
    data.mkdir()
    return Settings(data=data)


@pytest.fixture
def box_keys(settings: Settings) -> Path:
    """The folder of the box's key pair, made for this test."""
    from appliance.vault.seal import make_keys

    make_keys(settings.keys)
    return settings.keys


@pytest.fixture
def database(settings: Settings) -> Iterator[object]:
    """The state database of ``settings``, through the real migrations."""
    from appliance.db.engine import open_database

    opened = open_database(settings.database, create=True)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A real Ceph gateway, started once: twelve seconds."""
    from tests.support.s3 import S3Server

    with S3Server(tmp_path_factory.mktemp("ceph")) as server:
        yield server
