"""What an authority says no with becomes words a person can act on; and the small things around it."""

import os
import socket
import struct
import threading
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from acme import messages

from appliance.clock import utc_now
from appliance.errors import (
    AnswerWrong,
    AuthorityLimits,
    CertificateRefused,
    HookFailed,
    NameNotResolved,
    PortClosed,
    RecordMissing,
)
from appliance.policy.certificate import Way
from appliance.worker import txt_lookup
from appliance.worker.acme_client import _seconds, problem
from appliance.worker.dns_hook import check_program, run_hook
from appliance.worker.txt_lookup import txt_values


def said(kind: str, detail: str = "because", **more: object) -> messages.Error:
    return messages.Error.from_json(
        {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, **more}
    )


@pytest.mark.parametrize(
    ("kind", "way", "expected"),
    [
        ("dns", Way.HTTP, NameNotResolved),
        ("dns", Way.DNS, RecordMissing),
        ("connection", Way.HTTP, PortClosed),
        ("tls", Way.HTTP, PortClosed),
        ("unauthorized", Way.HTTP, AnswerWrong),
        ("incorrectResponse", Way.DNS, AnswerWrong),
        ("rateLimited", Way.DNS, AuthorityLimits),
        ("caa", Way.DNS, CertificateRefused),
        ("rejectedIdentifier", Way.DNS, CertificateRefused),
        ("somethingNew", Way.DNS, CertificateRefused),
    ],
)
def test_each_problem_has_its_error(kind, way, expected):
    """RFC 8555 section 6.7; what is not known is said with the authority's own words."""
    found = problem(said(kind), "a.fr", way, 60)
    assert type(found) is expected
    assert found.detail == "because"
    if isinstance(found, AuthorityLimits):
        assert found.wait_s == 60


def test_words_of_an_authority_are_cut_and_one_without_words_is_told():
    """A page is not filled by a stranger."""
    assert len(problem(said("caa", "x" * 9000), "", Way.DNS, 0).detail) == 300
    assert problem(None, "", Way.DNS, 0).problem == "unknown"
    compound = said(
        "malformed",
        subproblems=[
            {
                "type": "urn:ietf:params:acme:error:rejectedIdentifier",
                "detail": "this one",
                "identifier": {"type": "dns", "value": "b.fr"},
            }
        ],
    )
    assert problem(compound, "", Way.DNS, 0).detail == "this one"


def test_how_long_to_wait_is_read_in_both_forms():
    """Seconds or a date; a day at most, and nonsense is nothing."""
    assert _seconds("") == 0
    assert _seconds("90") == 90
    assert _seconds("9999999") == 86_400
    assert 100 < _seconds(format_datetime(utc_now() + timedelta(minutes=2), usegmt=True)) <= 120
    assert _seconds("soon") == 0
    assert _seconds(format_datetime(utc_now() - timedelta(days=2), usegmt=True)) == 0


# --- the record, asked for ---------------------------------------------------------------------


class NameServer:
    """Answers one question with given bytes, over UDP and TCP of one port."""

    def __init__(self, answer, *, by_tcp: bool = False) -> None:
        self._answer, self._by_tcp = answer, by_tcp
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._udp.getsockname()[1]}"
        self._tcp = socket.create_server(self._udp.getsockname()) if by_tcp else None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self.address

    def __exit__(self, *_why):
        self._thread.join(10)
        self._udp.close()
        if self._tcp is not None:
            self._tcp.close()

    def _serve(self) -> None:
        self._udp.settimeout(10)
        question, who = self._udp.recvfrom(4096)
        if self._tcp is None:
            self._udp.sendto(self._answer(question), who)
            return
        self._udp.sendto(question[:2] + b"\x82\x00" + b"\0" * 8, who)  # truncated: ask again by TCP
        line, _ = self._tcp.accept()
        with line:
            line.recv(4096)
            whole = self._answer(question)
            line.sendall(struct.pack(">H", len(whole)) + whole)


def answering(*values: bytes):
    """An answer with an alias and TXT records, as a name server writes it."""

    def answer(question: bytes) -> bytes:
        pointer = b"\xc0\x0c"
        records = pointer + struct.pack(">HHIH", 5, 1, 60, 2) + pointer
        for value in values:
            parts = [value[i : i + 255] for i in range(0, len(value), 255)]
            data = b"".join(bytes([len(part)]) + part for part in parts)
            records += pointer + struct.pack(">HHIH", 16, 1, 60, len(data)) + data
        head = question[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, len(values) + 1, 0, 0)
        return head + question[12:] + records

    return answer


@pytest.mark.parametrize("by_tcp", [False, True])
def test_a_record_is_read_behind_an_alias_in_pieces_and_by_tcp(by_tcp):
    """All its values, each put together again."""
    with NameServer(answering(b"first", b"x" * 300), by_tcp=by_tcp) as address:
        assert txt_values("_acme-challenge.cabinet.fr", address) == {"first", "x" * 300}


@pytest.mark.parametrize(
    "answer",
    [
        lambda question: b"",
        lambda question: question[:2],
        lambda question: b"\0\0" + question[2:],
        lambda question: answering(b"value")(question)[:-3],
        lambda question: question[:2] + b"\x81\x80" + b"\xff" * 8,
    ],
)
def test_an_answer_that_is_none_is_no_record(answer):
    """Cut, of another question, nonsense: not there, and nothing breaks."""
    with NameServer(answer) as address:
        assert "value" not in txt_values("cabinet.fr", address)


def test_the_name_servers_of_the_system_are_asked_when_none_is_named(monkeypatch, tmp_path):
    """In their order; a file that is not there means none."""
    place = tmp_path / "resolv.conf"
    place.write_text("# a comment\nsearch cabinet\nnameserver 127.0.0.2\nnameserver fe80::1%eth0\n")
    monkeypatch.setattr(txt_lookup, "_CONFIG", place)
    assert txt_lookup._of_the_system() == [("127.0.0.2", 53), ("fe80::1", 53)]
    place.unlink()
    assert txt_values("a.fr") == set()
    assert txt_lookup._address("9.9.9.9") == ("9.9.9.9", 53)
    assert txt_lookup._address("127.0.0.1:5353") == ("127.0.0.1", 5353)
    assert txt_lookup._address("[::1]:5353") == ("::1", 5353)
    assert txt_lookup._address("2620:fe::fe") == ("2620:fe::fe", 53)


# --- the administrator's program ---------------------------------------------------------------


def program(place: Path, text: str = "#!/bin/sh\nexit 0\n") -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(0o755)
    return place


def test_a_program_that_others_may_change_is_not_run(tmp_path):
    """Neither itself nor a folder above it; a link is followed first."""
    good = program(tmp_path / "bin" / "enter")
    check_program(good)
    link = tmp_path / "link"
    link.symlink_to(good)
    assert check_program(link) == good.resolve()
    for spoil in (good, good.parent):
        before = spoil.stat().st_mode
        spoil.chmod(0o777)
        for each in (good, link):
            with pytest.raises(HookFailed, match="others may change it"):
                check_program(each)
        spoil.chmod(before)
    check_program(good)
    if os.geteuid() == 0:
        os.chown(good, 65_534, 65_534)
        with pytest.raises(HookFailed, match="others may change it"):
            check_program(good)
    with pytest.raises(HookFailed, match="not an absolute path"):
        check_program(Path("enter"))
    with pytest.raises(HookFailed):
        check_program(tmp_path / "nothing")
    with pytest.raises(HookFailed, match="not a program"):
        check_program(tmp_path / "bin")


def test_what_was_looked_at_is_what_is_run(tmp_path):
    """Who may turn a link elsewhere between the look and the run gains nothing."""
    said_to = tmp_path / "said"
    good = program(tmp_path / "bin" / "enter", f'#!/bin/sh\necho "$0" > {said_to}\n')
    (tmp_path / "link").symlink_to(good)

    run_hook(str(tmp_path / "link"), "add", "_acme-challenge.a.fr", "b")

    assert said_to.read_text().strip() == str(good.resolve())


def test_a_program_gets_its_words_one_by_one_and_its_end_is_heeded(tmp_path):
    """No shell reads them; nothing of the box's environment goes along."""
    said_to = tmp_path / "said"
    good = program(
        tmp_path / "enter", f'#!/bin/sh\nprintf "%s\\n" "$@" > {said_to}\nenv >> {said_to}\n'
    )
    os.environ["ARMOIRE_SECRET"] = "x"
    try:
        run_hook(str(good), "add", "_acme-challenge.a.fr", "$(id); 'b'")
    finally:
        del os.environ["ARMOIRE_SECRET"]
    lines = said_to.read_text().splitlines()
    assert lines[:3] == ["add", "_acme-challenge.a.fr", "$(id); 'b'"]
    assert not any("SECRET" in line for line in lines)
    bad = program(tmp_path / "fail", "#!/bin/sh\nexit 7\n")
    with pytest.raises(HookFailed, match="exit 7"):
        run_hook(str(bad), "add", "a", "b")
