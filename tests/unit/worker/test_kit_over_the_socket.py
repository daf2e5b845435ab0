"""The reader's socket and the kit: asked for strictly, refused where there is no vault."""

import asyncio
import json
import threading

import pytest

from appliance.catalogue.reader_client import open_kit_document_async
from appliance.catalogue.reader_protocol import KitRequest, Malformed, Request, parse_request
from appliance.errors import NotFound
from appliance.model import PersonId
from appliance.worker.reader_socket import ReaderSocket

ASKED = KitRequest("sheet/2", PersonId(3), "hush", "en")


def body(**changed):
    values = json.loads(ASKED.pack()[4:])
    values.update(changed)
    return json.dumps({name: value for name, value in values.items() if value is not None}).encode()


def test_a_request_for_the_kit_comes_back_as_it_was_sent():
    assert parse_request(ASKED.pack()[4:]) == ASKED
    assert "hush" not in repr(ASKED)


@pytest.mark.parametrize(
    "changed",
    [
        {"kit": 1},
        {"kit": "x" * 21},
        {"password": None},
        {"password": 5},
        {"person": -1},
        {"person": "3"},
        {"version": 2},
    ],
)
def test_what_is_no_request_for_the_kit_is_dropped(changed):
    with pytest.raises(Malformed):
        parse_request(body(**changed))


def test_an_unknown_language_is_french_and_a_request_for_a_file_is_still_one():
    assert parse_request(body(language="de")).language == "fr"
    file = Request(1, 2, b"a", 0, None)
    assert parse_request(file.pack()[4:]) == file


def test_a_reader_without_a_vault_has_no_kit(settings):
    """During a recovery documents are read, and nothing is printed."""

    def no_file(_request):
        raise AssertionError

    listening = ReaderSocket(settings.reader_socket, no_file)
    thread = threading.Thread(target=listening.serve, daemon=True)
    thread.start()
    try:
        with pytest.raises(NotFound):
            asyncio.run(open_kit_document_async(settings, ASKED))
    finally:
        listening.close()
        thread.join(timeout=60)
