"""Errors have stable codes, say what to do, and keep file names out of logs."""

from dataclasses import fields

import pytest

from appliance import errors
from appliance.language import explain

EVERY = errors.all_errors()


@pytest.mark.parametrize("error", EVERY, ids=lambda e: e.__name__)
def test_an_error_has_a_code_and_is_drawn_in_the_tree(error):
    assert "." in error.code
    assert error.__name__ in (errors.__doc__ or "")


def test_no_two_errors_share_a_code():
    codes = [error.code for error in EVERY]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", EVERY, ids=lambda e: e.__name__)
@pytest.mark.parametrize("language", ["fr", "en"])
def test_what_a_person_reads_can_be_filled_from_the_facts(error, language):
    """No template names a fact the error does not have."""
    made = error(**{each.name: f"<{each.name}>" for each in fields(error)})

    words = explain(made, language)

    assert words
    assert "%(" not in words


def test_a_patients_file_name_stays_out_of_logs_and_reaches_the_person():
    error = errors.WouldOverwrite(1, "DUPONT Éloïse/lettre.pdf")

    assert "DUPONT" not in f"{error} {error!r} {error.args}"
    assert "DUPONT" in explain(error, "fr")


def test_every_private_field_stays_out_of_the_text():
    for error in EVERY:
        made = error(**{each.name: f"secret-{each.name}" for each in fields(error)})
        for each in fields(error):
            if each.metadata.get("private"):
                assert f"secret-{each.name}" not in f"{made} {made!r}"
