"""What the `borg` program is told, and what its exit codes mean."""

import json
from pathlib import Path

import pytest

from appliance.backup_jobs import borg
from appliance.errors import (
    BorgFailed,
    NoSpace,
    RepositoryDamaged,
    RepositoryLocked,
    RepositoryMissing,
    RepositoryReplaced,
    WrongPassphrase,
)
from appliance.process import Finished

REPOSITORY = Path("/data/repositories/3")


def test_a_comment_of_json_reaches_borg_as_it_is():
    """Borg fills «{now}» into comments; without care a JSON comment is refused."""
    argv = borg.create(REPOSITORY, "3-20261123T200000Z", ["/srv"], comment=json.dumps({"job": 7}))

    assert argv[argv.index("--comment") + 1] == '{{"job": 7}}'


def test_a_create_names_the_archive_then_the_folders_and_takes_no_folder_for_an_option():
    """A folder called «--repair» is a folder."""
    argv = borg.create(
        REPOSITORY, "3-x", ["--repair", "/srv/a b"], comment="", excludes=["sh:**/c"]
    )

    assert argv[-4:] == ("/data/repositories/3::3-x", "--", "--repair", "/srv/a b")
    assert argv[argv.index("--exclude") + 1] == "sh:**/c"


def test_the_program_is_the_one_of_our_own_environment():
    """Another Borg of the system is never taken."""
    assert Path(borg.info(REPOSITORY)[0]).is_absolute()
    assert Path(borg.PROGRAM).exists()


def test_a_delete_without_an_archive_is_refused():
    """`borg delete REPOSITORY` means the whole repository: such a call cannot be made."""
    with pytest.raises(ValueError, match="which archives"):
        borg.delete(REPOSITORY, [])
    with pytest.raises(ValueError, match="which archives"):
        borg.delete(REPOSITORY, ["--force"])
    assert borg.delete(REPOSITORY, ["3-a", "3-b"])[-2:] == ("/data/repositories/3::3-a", "3-b")


def test_no_call_repairs_or_forces():
    """Repairing throws data away: that is a person's decision."""
    calls = [
        borg.check_segments(REPOSITORY, max_seconds=60),
        borg.check_data(REPOSITORY),
        borg.delete(REPOSITORY, ["a"]),
        borg.compact(REPOSITORY),
    ]
    assert not {"--repair", "--force"} & {word for call in calls for word in call}


def test_the_environment_answers_no_to_every_question():
    """A repository that was moved or swapped is refused, and exit codes mean something."""
    env = borg.environment(Path("/data/borg"))

    assert env["BORG_EXIT_CODES"] == "modern"
    assert env["BORG_RELOCATED_REPO_ACCESS_IS_OK"] == "no"
    assert env["BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK"] == "no"
    assert not [name for name in env if "PASSPHRASE" in name or "PASSCOMMAND" in name]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (12, RepositoryDamaged),
        (13, RepositoryMissing),
        (15, RepositoryMissing),
        (14, NoSpace),
        (26, RepositoryDamaged),
        (44, RepositoryDamaged),
        (52, WrongPassphrase),
        (62, RepositoryReplaced),
        (64, RepositoryReplaced),
        (73, RepositoryLocked),
        (90, RepositoryDamaged),
        (97, RepositoryDamaged),
        (2, BorgFailed),
        (1, BorgFailed),
        (31, BorgFailed),
        (-9, BorgFailed),
        (143, BorgFailed),
    ],
)
def test_each_exit_code_is_one_error(code, error):
    """Codes of Borg 1.4, BORG_EXIT_CODES=modern."""
    found = borg.error_for(Finished(code, "", ()), Path("/"))

    assert type(found) is error


@pytest.mark.parametrize("code", [0, 100, 105, 107, 127])
def test_warnings_are_no_errors(code):
    """Files that could not be read make a warned night, not a failed one."""
    assert borg.error_for(Finished(code, "", ()), REPOSITORY) is None


def test_a_full_disk_is_recognised_in_the_words_of_a_crash():
    """Borg ends with 2 and a Python traceback when a write fails."""
    tail = ("OSError: [Errno 28] No space left on device: '/data/repositories/3/data/0/5'",)

    assert isinstance(borg.error_for(Finished(2, "", tail), REPOSITORY), NoSpace)


def test_a_code_that_a_call_expects_is_no_error():
    """`borg check` says with 1 that it found damage: that is an answer."""
    assert borg.error_for(Finished(1, "", ()), REPOSITORY, accept=frozenset({1})) is None


def test_what_borg_said_never_reaches_a_log():
    """Its words may name a patient's file."""
    found = borg.error_for(Finished(2, "", ("/srv/Dupont.pdf: broken",)), REPOSITORY)

    assert "Dupont" not in str(found)
    assert "Dupont" not in repr(found)
    assert "Dupont" in found.facts["message"]
