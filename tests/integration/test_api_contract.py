"""The JSON API keeps to its own description, whatever is sent: schemathesis over every operation, with a token."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.accounts import sessions, tunnel
from appliance.accounts.app_passwords import Kind, Scope
from appliance.clock import utc_now
from appliance.db import facts
from appliance.replication import kit
from appliance.vault.seal import make_keys
from appliance.web.security import COOKIE
from tests.support.dav_box import DavBox
from tests.support.reading import ReaderProcess
from tests.web.copied import fill_copies
from tests.web.practice import fill

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
SECONDS = int(os.environ.get("ARMOIRE_CONTRACT_SECONDS", "30"))
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


def test_no_operation_fails_or_breaks_its_description(tmp_path):
    """No 5xx and no answer that the description does not know: made-up values, wrong ones and edges of each field."""
    with DavBox(tmp_path) as box:
        (box.folder / "letters").mkdir()
        (box.folder / "letters" / "march.txt").write_bytes(b"a letter")
        fill(box.database, box.settings, utc_now())
        fill_copies(box.database, box.settings, utc_now())
        token = box.make(Kind.API, *Scope)
        # A share that is there: every other name ends at «not found», and says nothing about what is behind.
        done = walk(box, tmp_path, SECONDS, "--header", f"Authorization:Bearer {token}")
        alive = box.process.poll() is None
    check(done, alive, more_than=30)


def test_what_no_token_opens_keeps_to_its_description_for_a_session(tmp_path):
    """People, replacements, emergency access, links: as a browser that showed just now who it is."""
    with DavBox(tmp_path) as box:
        fill(box.database, box.settings, utc_now())
        asked = signed_in(box)
        done = walk(
            box, tmp_path, max(10, SECONDS // 2), *headers(asked),
            *("--include-path-regex", "^/api/v1/(people|locums|sources|snapshots|restores|emergency|access-review|links|notices|shares)"),
            *("--exclude-path-regex", "/zip$"),  # these nights have no worker that reads them: 503, as it should be
        )  # fmt: skip
        alive = box.process.poll() is None
        # It was let in all along: nothing of what it sent ended its own session.
        line = box.line()
        line.request("GET", "/api/v1/people", headers=asked)
        assert line.getresponse().status == 200
        line.close()
    check(done, alive, more_than=28)


def test_copies_hosts_kit_and_drills_keep_to_their_description_for_a_session(tmp_path):
    """Four places with their nights, a kit, and the worker's side of it: also what is printed is asked for."""
    with DavBox(tmp_path) as box:
        fill_copies(box.database, box.settings, utc_now())
        with box.database.write() as connection:
            facts.put(connection, "box.id", "b0", now=utc_now())
            kit.make(connection, box.settings.keys, now=utc_now())
        with ReaderProcess(box.settings):
            done = walk(
                box, tmp_path, max(10, SECONDS // 2), *headers(signed_in(box)),
                *("--include-path-regex", "^/api/v1/(copies|kit|drills|recovery)"),
            )  # fmt: skip
        alive = box.process.poll() is None
    check(done, alive, more_than=30)


def test_ones_own_things_and_the_rules_keep_to_their_description_for_a_session(tmp_path):
    """Account, factors, tokens, devices, notices, rules of sign-in, certificate; only what would end the session is left out."""
    with DavBox(tmp_path) as box:
        make_keys(box.settings.keys)
        with box.database.write() as connection:
            facts.put(connection, tunnel.PUBLIC_KEY, tunnel.make_keys()[1], now=utc_now())
            facts.put(connection, tunnel.ENDPOINT, "cabinet.example.org:51820", now=utc_now())
        asked = signed_in(box)
        done = walk(
            box, tmp_path, max(10, SECONDS // 2), *headers(asked),
            *("--include-path-regex", "^/api/v1/(account|access|devices|notices|certificate)"),
            *("--exclude-path-regex", "/sessions/{session_id}/end$"),
        )  # fmt: skip
        alive = box.process.poll() is None
        line = box.line()
        line.request("GET", "/api/v1/account", headers=asked)
        assert line.getresponse().status == 200
        line.close()
    check(done, alive, more_than=40)


def signed_in(box):
    """What the browser sends of a doctor who showed just now who they are."""
    with box.database.write() as connection:
        token = sessions.start(
            connection, box.doctor.id, now=utc_now(), address="127.0.0.1", user_agent="tests"
        )
        connection.exec_driver_sql("UPDATE session SET proven_at = created_at")
    return {"Cookie": f"{COOKIE}={token}", "Sec-Fetch-Site": "same-origin"}


def headers(asked):
    """The same, as schemathesis takes it."""
    return [part for name, value in asked.items() for part in ("--header", f"{name}:{value}")]


def walk(box, place, seconds, *more):
    """Let schemathesis ask every operation, or those that ``more`` names."""
    (place / "schemathesis.toml").write_text(
        '[parameters]\n"path.share" = "documents"\n"query.p" = ["", "bGV0dGVycw"]\n'
        '"path.target_id" = 1\n'
        '"path.source_id" = 1\n"path.snapshot_id" = 5\n'
    )
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            *("run", f"https://127.0.0.1:{box.port}/api/v1/openapi.json"),
            *more,
            *("--checks", ",".join(CHECKS)),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-time", str(seconds)),
            *("--continue-on-failure", "--tls-verify", "false", "--no-color", "--warnings", "off"),
            *("--seed", "11", "--request-timeout", "20"),
            *("--report", "json", "--report-dir", str(place / "report")),
        ],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def check(done, alive, *, more_than):
    """Nothing failed, and every operation that was chosen was asked."""
    print(done.stdout[-30_000:], done.stderr[-2_000:])
    assert alive
    assert done.returncode == 0
    selected, tested = (
        int(re.search(rf"{word}: (\d+)", done.stdout)[1]) for word in ("Selected", "Tested")
    )
    assert tested == selected > more_than
