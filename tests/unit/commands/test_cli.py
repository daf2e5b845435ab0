"""The command line: one object with --json, exit codes that mean something, words of the reader."""

import json
import stat
import sys

import click
import pytest
from click.shell_completion import get_completion_class

from appliance import cli
from appliance.accounts import people
from appliance.clock import utc_now
from appliance.commands.framework import Option
from appliance.commands.machine_adding import recipes_of
from appliance.commands.session import as_json, clean, exit_code_of, language_of
from appliance.commands.sources import check_name, plan_of
from appliance.db import sources
from appliance.db.engine import open_database
from appliance.errors import (
    Frozen,
    InvalidInput,
    MachineUnreachable,
    NotFound,
    WouldOverwrite,
)
from appliance.jobs import queue
from appliance.jobs.kinds import CheckMachine
from appliance.language import translate
from appliance.ledger import chain
from appliance.model import Plan, Role, SourceId, SourceKind


@pytest.fixture(autouse=True)
def english(monkeypatch, tmp_path):
    monkeypatch.setenv("ARMOIRE_LANG", "en")
    monkeypatch.setenv("ARMOIRE_DATA", str(tmp_path / "box"))
    monkeypatch.setattr("os.umask", lambda _mask: 0o022)  # of this whole process otherwise


@pytest.fixture
def armoire(capsys):
    """Runs a command in this process; returns exit code, standard output and error."""

    def run(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run(argv)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def box(armoire, tmp_path):
    """A box made by ``init``, and its database."""
    assert armoire("init")[0] == 0
    database = open_database(f"sqlite:///{tmp_path / 'box' / 'state.sqlite'}")
    yield database
    database.close()


# --- the box ---------------------------------------------------------------------------------


def test_init_makes_an_empty_box_for_us_alone_and_prints_one_link(armoire, tmp_path):
    """No default password; nobody else of this system sees into the folder."""
    code, out, _ = armoire("init", "--json")
    body = json.loads(out)
    folder = tmp_path / "box"

    assert code == 0
    assert body["is_new"] is True
    assert body["link"].startswith("https://127.0.0.1:8443/link#")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "keys" / "box.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "state.sqlite").stat().st_mode) & 0o007 == 0
    database = open_database(f"sqlite:///{folder / 'state.sqlite'}")
    with database.read() as c:
        assert people.count(c) == 0
    database.close()


def test_init_again_changes_no_key_and_no_box_id(armoire, box, tmp_path):
    """Running it twice is no way to lock a practice out."""
    key = (tmp_path / "box" / "keys" / "box.key").read_bytes()
    with box.read() as c:
        made = chain.newest(c)

    code, out, _ = armoire("init", "--json")

    assert (code, json.loads(out)["is_new"]) == (0, False)
    assert (tmp_path / "box" / "keys" / "box.key").read_bytes() == key
    with box.read() as c:
        assert chain.newest(c) == made


def test_init_in_a_folder_of_two_accounts_keeps_the_group_and_shuts_others_out(armoire, tmp_path):
    """systemd/tmpfiles.d makes the folders for the worker and the web interface."""
    folder = tmp_path / "box"
    folder.mkdir()
    folder.chmod(0o2775)

    armoire("init")

    assert stat.S_IMODE(folder.stat().st_mode) == 0o2770
    assert stat.S_IMODE((folder / "state.sqlite").stat().st_mode) & 0o007 == 0


def test_without_a_box_every_command_says_how_to_make_one(armoire):
    """Exit code 1 and one sentence."""
    for command in (["status"], ["jobs"], ["snapshots"], ["backup", "--all"], ["ledger", "verify"],
                    ["serve"], ["worker"], ["run"]):  # fmt: skip
        code, out, err = armoire(*command)
        assert (code, out) == (1, ""), command
        assert "armoire init" in err


def test_a_link_is_for_the_person_named_and_for_the_first_account_otherwise(armoire, box):
    """Once there is an account, no second first one can be made."""
    assert "/link#" in armoire("link")[1]
    with box.write() as c:
        people.add(
            c,
            login="eloise",
            name="É",
            role=Role.OWNER,
            language="fr",
            password_hash=None,
            now=utc_now(),
        )

    assert "/link#" in armoire("link", "eloise")[1]
    assert armoire("link")[0] == 2
    assert armoire("link", "nobody")[0] == 2
    with box.read() as c:
        assert [each.event for each in chain.newest(c)] == [
            "link.made",
            "source.added",
            "kit.made",
            "box.made",
        ]


# --- answers ---------------------------------------------------------------------------------


def test_an_error_is_one_json_object_with_code_message_and_facts(armoire, box):
    """What a program needs to react; nothing beside it on standard output."""
    code, out, err = armoire("snapshots", "nowhere", "--json")

    assert code == 2
    assert err == ""
    assert json.loads(out) == {
        "error": {
            "code": "input.not-found",
            "message": "There is no source «nowhere» here. Check the name in the list.",
            "facts": {"noun": "source", "identity": "nowhere"},
        }
    }


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"],
        ["jobs", "--nonsense"],
        ["job", "cancel"],
        ["job", "cancel", "x"],
        ["backup"],
        ["backup", "a", "--all"],
        ["restore", "a"],
        ["restore", "a:b", "--to", "/x", "--back"],
        ["restore", "a:b", "--to", "/x", "--at", "/y"],
        ["restore", "a:b", "c:d", "--to", "/x"],
        ["cat", "a"],
        ["cat", "a:b", "--json"],
        ["machine", "add", "a"],
        ["machine", "add", "A b", "--host", "h", "--user", "u"],
        ["machine", "add", "a", "--host", "h", "--user", "u", "--window", "8-9"],
        ["machine", "add", "a", "--host", "h", "--user", "u", "--recipe", "nonsense"],
        ["machine", "add", "a", "--host", "h", "--user", "u", "--value", "x.y=z"],
        ["machine", "add", "a", "--host", "h", "--user", "u", "--quota", "3"],
        ["share", "add", "a", "/no/such/folder"],
        ["completion", "cmd.exe"],
    ],
)
def test_wrong_usage_ends_with_2_and_changes_nothing(armoire, box, argv):
    """As one JSON object too."""
    assert armoire(*argv)[0] == 2
    code, out, _ = armoire(*argv, "--json")
    assert code == 2
    assert set(json.loads(out)) == {"error"}
    with box.read() as c:
        assert sources.with_files(c) == []
        assert queue.newest(c) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Frozen(1, "x"), 4),
        (WouldOverwrite(1, "x"), 4),
        (NotFound("source", "x"), 2),
        (InvalidInput("a", "b"), 2),
        (MachineUnreachable("h", 22, "x"), 1),
    ],
)
def test_exit_codes_tell_refusals_from_failures_and_mistakes(error, code):
    assert exit_code_of(error) == code


def test_an_unforeseen_error_is_said_in_words_without_its_text(armoire, box, monkeypatch):
    """The text of an exception may hold a patient's name (beam 7); ARMOIRE_DEBUG shows all of it."""

    def broken(*_given, **_options):
        raise RuntimeError("DUPONT Éloïse")

    monkeypatch.setattr(queue, "newest", broken)

    code, out, err = armoire("jobs")
    assert (code, out) == (1, "")
    assert "RuntimeError" in err
    assert "DUPONT" not in err
    monkeypatch.setenv("ARMOIRE_DEBUG", "1")
    with pytest.raises(RuntimeError):
        armoire("jobs")


def test_who_reads_only_the_first_lines_is_no_error(box, tmp_path):
    """``armoire … | head -1``."""
    import os
    import subprocess

    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "appliance.cli", "--data", str(tmp_path / "box"), "ledger", "list"],
        stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60,
    )  # fmt: skip
    os.close(writing)

    assert done.stderr == b""


# --- jobs ------------------------------------------------------------------------------------


def test_a_waiting_job_is_listed_and_cancelled(armoire, box):
    """With who asked in the ledger; a second time there is nothing to stop."""
    now = utc_now()
    with box.write() as c:
        made = sources.add(
            c, name="accueil", label="a", kind=SourceKind.PULLED, roots=("/a",), now=now
        )
        job_id = queue.enqueue(c, CheckMachine(SourceId(made.id)), now=now)

    (listed,) = json.loads(armoire("jobs", "--json")[1])["jobs"]
    assert (listed["id"], listed["source"], listed["state"]) == (job_id, "accueil", "queued")
    assert "accueil" in armoire("jobs")[1]
    assert armoire("job", "cancel", str(job_id))[0] == 0
    assert armoire("jobs", "--json")[1] == '{"jobs":[]}\n'
    assert armoire("job", "cancel", str(job_id))[0] == 0
    with box.read() as c:
        assert chain.newest(c)[0].event == "job.cancel-asked"


def test_an_altered_ledger_is_found(armoire, box):
    """One changed letter is enough."""
    from sqlalchemy import update

    from appliance.db.schema import ledger

    assert armoire("ledger", "verify")[0] == 0
    with box.write() as c:
        c.execute(update(ledger).values(actor="somebody"))

    code, out, _ = armoire("ledger", "verify", "--json")

    assert (code, json.loads(out)["error"]["code"]) == (1, "ledger.broken")


# --- words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "fr"),
        ({"LANG": "C.UTF-8"}, "fr"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8", "ARMOIRE_LANG": "fr"}, "fr"),
        ({"LANG": "de_DE.UTF-8"}, "fr"),
        ({"LC_ALL": "en_US", "LANG": "fr_FR"}, "en"),
    ],
)
def test_the_language_is_the_readers_and_french_when_nobody_says(environment, language):
    assert language_of(environment) == language


def every_command() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []

    def walk(name: str, command: click.Command, context: click.Context) -> None:
        found.append((name, command))
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                child = command.get_command(context, each)
                assert child is not None
                walk(f"{name} {each}", child, context)

    walk("armoire", cli.armoire, click.Context(cli.armoire))
    return found


@pytest.mark.parametrize(
    ("name", "command"), every_command(), ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_command_takes_json_and_data_and_is_explained_in_french(name, command):
    """Nothing on screen is left in English for a French reader."""
    options = {option for each in command.params for option in each.opts}
    texts = [
        command.help,
        *(each.help for each in command.params if isinstance(each, Option) and not each.hidden),
    ]

    assert {"--json", "--data"} <= options
    for text in texts:
        assert text
        assert translate(text, "fr") != text, text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_the_usual_shells(armoire, shell):
    code, out, _ = armoire("completion", shell)

    assert code == 0
    assert "_ARMOIRE_COMPLETE" in out


def test_the_shell_completes_commands_and_names_of_sources(armoire, box, monkeypatch):
    """As bash asks for them: COMP_WORDS and COMP_CWORD."""
    with box.write() as c:
        for name in ("accueil", "serveur"):
            sources.add(
                c, name=name, label=name, kind=SourceKind.SHARE, roots=("/a",), now=utc_now()
            )

    def completed(words: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        kind = get_completion_class("bash")
        assert kind is not None
        made = kind(cli.armoire, {}, "armoire", "_ARMOIRE_COMPLETE")
        return [line.split(",")[1] for line in made.complete().splitlines()]

    assert sorted(completed("armoire cat")) == ["cat", "catalogue"]
    assert completed("armoire backup s") == ["serveur"]
    assert completed("armoire ls ") == ["accueil", "serveur"]


def test_help_is_in_the_readers_language(armoire, monkeypatch):
    monkeypatch.setenv("ARMOIRE_LANG", "fr")

    assert "Sauvegarde" in armoire("backup", "--help")[1]


def test_a_name_chosen_by_a_stranger_cannot_write_on_the_terminal():
    """Escape sequences, line ends and right-to-left marks stay text."""
    assert clean(b"a\x1b[2Jb\n\xff.pdf") == "a�[2Jb��.pdf"
    assert clean("DUPONT Éloïse (2026).pdf") == "DUPONT Éloïse (2026).pdf"
    assert clean("a\u202efdp.exe") == "a�fdp.exe"


def test_json_holds_bytes_as_text():
    assert json.loads(as_json({"path": b"\xc3\xa9\xff", "n": 1})) == {"path": "é\\xff", "n": 1}


def test_what_a_person_types_about_a_machine_is_checked():
    """Names can be typed in SOURCE@SNAPSHOT:PATH, windows are times, values belong to a recipe."""
    assert check_name("poste-1") == "poste-1"
    for wrong in ("", "A", "a b", "a@b", "a:b", "-a", "a" * 65, "é"):
        with pytest.raises(InvalidInput):
            check_name(wrong)
    assert plan_of("21:30-05:00") == Plan(window_start="21:30", window_end="05:00")
    assert plan_of(None) is None  # the hours the practice chose
    (use,) = recipes_of(["postgresql"], ["postgresql.databases=a,b", "postgresql.port=1"])
    assert use.values == {"databases": "a,b", "port": "1"}
    with pytest.raises(InvalidInput):
        recipes_of(["postgresql"], ["mariadb.port=1"])


def test_the_process_that_serves_the_web_loads_nothing_that_opens_secrets_or_runs_programs():
    """Beam 1 at run time: what ``armoire serve`` has in memory."""
    import subprocess

    check = (
        "import sys, appliance.cli, appliance.commands.serve, appliance.web.server\n"
        "loaded = {'appliance.process', 'appliance.vault.unseal', 'borg', 'paramiko'} & set(sys.modules)\n"
        "sys.exit(repr(loaded) if loaded else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("typed", "removed"), [("oui", True), ("O", True), ("y", True), ("", False), ("non", False)]
)
def test_a_person_says_yes_in_their_own_language(armoire, box, monkeypatch, typed, removed):
    """And nothing else is a yes; without a terminal nobody is asked."""
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with box.write() as c:
        sources.add(
            c, name="partage", label="p", kind=SourceKind.SHARE, roots=("/a",), now=utc_now()
        )
    assert armoire("share", "remove", "partage")[0] == 4
    monkeypatch.setattr("sys.stdin", Terminal(typed + "\n"))

    assert armoire("share", "remove", "partage")[0] == (0 if removed else 4)
    with box.read() as c:
        assert (sources.with_files(c) == []) is removed
