"""A value is data for the machine's shell, whatever it holds."""

import base64
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup_jobs.recipe_quoting import (
    held_script,
    posix_script,
    powershell_literal,
    stream_name,
    windows_command,
)
from appliance.errors import InvalidInput
from appliance.vault.secret import Secret

NASTY = [
    "'",
    '"',
    "$(touch /x)",
    "`id`",
    "\n",
    "; exit 3",
    "-rf",
    "\\",
    "*",
    "é",
    "}",
    "#",
    "'; exit 4; '",
    "$v_secret",
]
VALUES = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60),
    st.lists(st.sampled_from(NASTY), max_size=8).map("".join),
)


def shell(script: bytes, program: str = "/bin/sh", stdin: bytes = b"") -> tuple[int, bytes]:
    done = subprocess.run(
        [program, "-s"], input=script + stdin, capture_output=True, check=False,
        env={"PATH": "/usr/bin:/bin", "v_one": "from the account"},
    )  # fmt: skip
    return done.returncode, done.stdout


@given(VALUES, VALUES)
def test_a_value_arrives_as_it_is_and_runs_nothing(one, two):
    """No quote, no substitution, no newline in a value is ever read as a program."""
    code, out = shell(
        posix_script('printf \'%s\\0%s\' "$v_one" "$v_two"; exit 7', {"one": one, "two": two})
    )

    assert (code, out) == (7, f"{one}\0{two}".encode())


def test_bash_reads_the_same_script():
    """macOS' and Linux' shells differ; the script does not care."""
    value = "".join(NASTY)

    assert shell(posix_script('printf %s "$v_x"', {"x": value}), "/bin/bash") == (0, value.encode())


def test_neither_value_nor_secret_reaches_the_environment_of_a_program():
    """Beam 7: what a machine's other users could list stays empty."""
    code, out = shell(
        posix_script("env; cat /proc/self/cmdline", {"one": "valeur"}, Secret(b"mot de passe"))
    )

    assert code == 0
    assert b"valeur" not in out
    assert b"mot de passe" not in out


def test_a_script_cut_on_its_way_does_nothing():
    """Half a script is worse than none."""
    script = posix_script("echo ran", {"one": "1"})

    assert shell(script)[1] == b"ran\n"
    for length in range(0, script.rindex(b"armoire_main </dev/null"), 7):
        assert shell(script[:length])[1] == b""


def test_a_program_of_the_script_cannot_eat_the_rest_of_it():
    """The commands' standard input is empty."""
    assert shell(posix_script("cat; echo end", {})) == (0, b"end\n")


def test_the_exit_code_of_the_last_command_is_kept():
    """A failed dump is seen."""
    assert shell(posix_script("true | sh -c 'exit 9'", {}))[0] == 9
    assert shell(posix_script("kill -9 $$", {}))[0] == -9


def test_a_held_script_runs_its_end_when_the_line_ends(tmp_path):
    """A box that dies leaves no service stopped."""
    log = tmp_path / "log"
    process = subprocess.Popen(
        ["/bin/sh", "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    process.stdin.write(
        held_script('echo stop >>"$v_log"', 'echo start >>"$v_log"', {"log": str(log)})
    )
    process.stdin.flush()

    assert process.stdout.readline() == b"armoire before 0\n"
    assert log.read_text() == "stop\n"
    process.stdout.close()  # as when the session is gone
    process.stdin.close()
    assert process.wait(10) == 0
    assert log.read_text() == "stop\nstart\n"


def test_a_held_script_says_how_both_commands_ended():
    """A service that does not stop, or does not start again, is told."""
    code, out = shell(held_script("exit 5", "exit 6", {}))

    assert (code, out) == (6, b"armoire before 5\narmoire after 6\n")


@given(VALUES)
def test_a_value_in_powershell_is_a_literal(value):
    """PowerShell knows five single quotes; none of them gets through as itself."""
    text = powershell_literal(value)

    if text.startswith("'"):
        assert text == f"'{value}'"
        assert not set(value) & set("'\u2018\u2019\u201a\u201b\"$`\n")
    else:
        head, encoded, tail = text.split("'")
        assert (head, tail) == (
            "[Text.Encoding]::Unicode.GetString([Convert]::FromBase64String(",
            "))",
        )
        assert base64.b64decode(encoded).decode("utf-16-le") == value


def test_a_windows_command_is_one_encoded_argument():
    """cmd.exe sees base64 only."""
    line = windows_command("Write-Output $v_x", {"x": "C:\\Users\\Élodie & del"})
    *program, encoded = line.split(" ")

    assert program == ["powershell.exe", "-NoProfile", "-NonInteractive", "-EncodedCommand"]
    assert base64.b64decode(encoded).decode("utf-16-le").endswith("Write-Output $v_x")
    assert encoded.strip("=").isalnum() or set(encoded) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
    )


def test_a_command_too_long_for_windows_is_refused():
    """Rather than being cut by cmd.exe."""
    with pytest.raises(InvalidInput):
        windows_command("x" * 4000, {})


@given(st.text(max_size=40))
def test_the_name_of_a_database_becomes_one_part_of_a_path(name):
    """«../» in the name of a database stays in its folder; different names stay different."""
    part = stream_name(name.encode("utf-8", "replace").decode())

    assert part not in {"", ".", ".."}
    assert "/" not in part
    assert "\0" not in part


def test_ordinary_names_of_databases_stay_readable():
    """Accents too."""
    assert stream_name("cabinet été") == "cabinet été"
    assert stream_name("../x") == "..%2Fx"
