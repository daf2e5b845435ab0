"""The lines a person pastes on a machine."""

import shlex

import pytest

from appliance.errors import InvalidInput
from appliance.model import System
from appliance.policy.instructions import authorized_key, steps

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0 armoire-3"


@pytest.mark.parametrize("system", list(System))
def test_every_system_gets_the_key_with_restrict_and_only_sftp(system):
    """The key of a backup opens no terminal and no tunnel."""
    text = "\n".join(line for step in steps(system, KEY, user="armoire") for line in step.lines)

    assert KEY in text
    assert 'restrict,command="internal-sftp"' in text


def test_a_recipe_that_runs_commands_gets_a_key_that_may():
    """Still no terminal, no tunnel."""
    assert authorized_key(KEY, runs_commands=True) == f"restrict {KEY}"


@pytest.mark.parametrize(
    "key", ["", "ssh-ed25519", f"{KEY}\nssh-ed25519 BBBB", 'command="x" ' + KEY, KEY + "'; reboot"]
)
def test_what_is_no_key_is_never_put_into_a_line_to_paste(key):
    """Another machine's answer could otherwise end up in somebody's terminal."""
    with pytest.raises(InvalidInput):
        steps(System.LINUX, key, user="armoire")


def test_folders_with_odd_names_stay_one_argument():
    """A folder «Mes documents; rm» is quoted."""
    root = "/home/d/Mes documents; rm -rf $HOME"
    lines = [
        line for step in steps(System.LINUX, KEY, user="x", roots=[root]) for line in step.lines
    ]

    assert shlex.split(lines[-1])[-1] == root
