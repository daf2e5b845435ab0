"""A certificate every device knows: had from a real ACME server, shown without a restart, and the old one stays when it is refused."""

import contextlib
import os
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from appliance.clock import utc_now
from appliance.db import facts
from appliance.errors import (
    AnswerWrong,
    AuthorityAccountMissing,
    AuthorityUnreachable,
    CertificateRefused,
    HookFailed,
    NameNotResolved,
    NoListener,
    PortClosed,
    RecordMissing,
    TermsNotAgreed,
    WebSilent,
)
from appliance.jobs import certificates
from appliance.jobs.kinds import RenewCertificate
from appliance.model import JobState
from appliance.policy.certificate import Way, check_wish
from appliance.vault.seal import seal
from appliance.vault.secret import Secret
from appliance.web import acme
from appliance.web.acme import AcmeSide
from appliance.web.server import Renewal, make_server
from appliance.worker.acme_client import make_account_key, open_exchange
from appliance.worker.planner import Planner
from appliance.worker.tasks import certificate_renew
from tests.support.armoire import Armoire, end
from tests.support.box import Box
from tests.support.pebble import Pebble
from tests.support.sshd import free_port

pytestmark = pytest.mark.integration
NAME = "cloud.cabinet-martin.fr"


class Served:
    """A box whose web interface runs, with an authority beside it."""

    def __init__(self, folder: Path, pebble: Pebble) -> None:
        self.pebble = pebble
        self.box = Box(
            folder / "data", listen_address="127.0.0.1", listen_port=free_port(), acme_http_port=pebble.http_port,
            acme_resolver=pebble.resolver, acme_ca_bundle=str(pebble.ca_bundle),
        )  # fmt: skip
        server = make_server(self.box.settings)
        assert server.config.ssl is not None
        renewal = Renewal(self.box.settings, server.config.ssl)
        self.side = AcmeSide(self.box.settings, server.database, renewal.look)
        self._server = server
        self._threads = [
            threading.Thread(target=server.run, daemon=True),
            threading.Thread(target=self.side.watch, args=(0.1,), daemon=True),
        ]
        for each in self._threads:
            each.start()
        deadline = time.monotonic() + 60
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def close(self) -> None:
        self.side.end()
        self._server.should_exit = True
        for each in self._threads:
            each.join(timeout=30)
        self.box.close()

    def stop_side(self) -> None:
        """The web interface is gone; what it wrote stays."""
        self.side.end()
        self._threads[1].join(timeout=30)

    def ask(
        self,
        way: Way,
        *names: str,
        directory: str = "",
        agreed: bool = True,
        account: str = "",
        key: str = "",
    ) -> None:
        wish = check_wish(
            directory or self.pebble.directory,
            list(names or (NAME,)),
            way,
            "",
            agreed=agreed,
            account=account,
        )
        sealed = seal(Secret(key.encode()), self.box.settings.keys) if key else None
        with self.box.database.write() as connection:
            certificates.ask(
                connection, wish, person_id=None, actor="test", now=utc_now(), sealed=sealed
            )

    def run(self, **values: bool) -> JobState:
        return self.box.run(RenewCertificate(**values))

    def reading(self) -> certificates.Reading:
        with self.box.database.read() as connection:
            return certificates.read(connection)

    def fact(self, name: str) -> object:
        with self.box.database.read() as connection:
            return facts.find(connection, name)

    def shown(self, name: str | None, context: ssl.SSLContext | None = None) -> x509.Certificate:
        """What a browser that asks for ``name`` is shown; refused when ``context`` does not trust it."""
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        port = self.box.settings.listen_port
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as line,
            context.wrap_socket(line, server_hostname=name) as secured,
        ):
            found = secured.getpeercert(binary_form=True)
            assert found is not None
            return x509.load_der_x509_certificate(found)

    def enter_records(self) -> None:
        """What a person does at whoever runs the practice's DNS zone; the records of before go."""
        for name in {each.name for each in self.reading().records}:
            self.pebble.dns_says("clear-txt", host=f"{name}.")
        for each in self.reading().records:
            self.pebble.dns_says("set-txt", host=f"{each.name}.", value=each.value)


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """One authority for this file; every nonce in five is refused at first, as some day one is."""
    with Pebble(
        tmp_path_factory.mktemp("pebble"), http_port=free_port(), PEBBLE_WFE_NONCEREJECT="20"
    ) as made:
        yield made


@pytest.fixture
def served(tmp_path: Path, pebble: Pebble) -> Iterator[Served]:
    """A box of this test's own, and nothing in the DNS."""
    pebble.dns_says("clear-txt", host=f"_acme-challenge.{NAME}.")
    made = Served(tmp_path, pebble)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def one_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The DNS of these tests has no second name server that would have to follow."""
    monkeypatch.setattr(certificate_renew, "SETTLE_S", 0.0)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less of it, where waiting is what is tested."""
    monkeypatch.setattr(certificate_renew, "WEB_S", 1.0)


def test_by_dns_a_person_enters_a_record_and_the_box_goes_on_by_itself(
    served: Served, pebble: Pebble
) -> None:
    """Nothing is asked of the authority before the record is public; then the chain is right, without a restart."""
    own = served.shown(NAME)
    served.ask(Way.DNS, NAME, f"*.{NAME}")
    assert served.run() is JobState.WARNED
    known = served.reading()
    assert {each.name for each in known.records} == {f"_acme-challenge.{NAME}"}
    assert len({each.value for each in known.records}) == 2
    assert served.shown(NAME) == own
    now = utc_now()
    assert not known.is_due(now)
    assert known.is_due(now + timedelta(minutes=11))
    with served.box.database.read() as connection:
        assert [
            each.code
            for each in certificates.certificate_findings(connection, served.box.settings, now)
        ] == ["certificate.record-awaited"]
    assert served.run() is JobState.WARNED
    assert served.reading().records == known.records, "another record would have to be entered"
    served.enter_records()
    assert served.run() is JobState.SUCCEEDED
    leaf = served.shown(NAME, pebble.trust())
    assert served.shown(f"a.{NAME}", pebble.trust()) == leaf
    assert served.reading().records == ()
    assert not served.reading().is_due(utc_now())
    # The addresses of the practice are not in that certificate: they stay the box's own.
    assert served.shown(None) == own
    assert served.shown("armoire.local") == own
    content = (served.box.settings.tls / acme.SHOWN).read_bytes()
    assert content.count(b"BEGIN CERTIFICATE") == 2
    assert (served.box.settings.tls / acme.SHOWN).stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in str(served.fact(certificates.REQUEST)).encode()


def test_by_http_a_door_is_open_only_while_the_authority_asks(
    served: Served, pebble: Pebble
) -> None:
    """Its question is answered, and nothing else is there; before and after, nothing listens."""
    served.ask(Way.HTTP)
    assert served.run() is JobState.SUCCEEDED
    served.shown(NAME, pebble.trust())
    _await_closed(served)
    deadline = time.monotonic() + 60
    answers = {
        "answers": {"abc": "abc.def"},
        "until": (utc_now() + timedelta(minutes=5)).isoformat(),
    }
    with served.box.database.write() as connection:
        facts.put(connection, certificates.ANSWERS, answers, now=utc_now())
    while _status(pebble.http_port, "/") is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    path = "/.well-known/acme-challenge/"
    assert _status(pebble.http_port, path + "abc") == (200, b"abc.def")
    for other in (path, path + "abcd", path + "../abc", path + "abc?x", "/", "/abc", "//" + path):
        assert _status(pebble.http_port, other) == (404, b""), other
    assert _status(pebble.http_port, path + "abc", "POST") == (404, b"")
    assert _status(pebble.http_port, path + "abc", "BREW") == (404, b"")
    # The answers are forgotten when their time is over, though the worker died.
    late = {**answers, "until": utc_now().isoformat()}
    with served.box.database.write() as connection:
        facts.put(connection, certificates.ANSWERS, late, now=utc_now())
    while _status(pebble.http_port, path + "abc") is not None:
        assert time.monotonic() < deadline
        time.sleep(0.1)


KEYS = {"kid-1": "c2VjcmV0LXNlY3JldC1zZWNyZXQtMQ", "kid-2": "YW5vdGhlci1zZWNyZXQtYW5vdGhlcg"}


def test_an_authority_that_asks_for_an_account_signs_for_who_has_one(tmp_path: Path) -> None:
    """Without one it is said what is missing, with a wrong key that it is refused; bound once, it goes on."""
    with Pebble(tmp_path / "pebble", http_port=free_port(), accounts=KEYS) as authority:
        served = Served(tmp_path, authority)
        try:
            served.ask(Way.HTTP)
            with pytest.raises(AuthorityAccountMissing):
                served.run()
            served.ask(Way.HTTP, account="kid-1", key=KEYS["kid-2"])
            with pytest.raises(CertificateRefused) as refused:
                served.run()
            assert KEYS["kid-2"] not in str(refused.value)
            served.ask(Way.HTTP, account="kid-1", key=KEYS["kid-1"])
            assert served.run() is JobState.SUCCEEDED
            first = served.shown(NAME, authority.trust()).serial_number
            # Renewed under the account it has by now, though its key is no longer the right one.
            served.ask(Way.HTTP, account="kid-1", key=KEYS["kid-2"])
            assert served.run(anyway=True) is JobState.SUCCEEDED
            assert served.shown(NAME, authority.trust()).serial_number != first
            # Somebody else's account is another one there.
            served.ask(Way.HTTP, account="kid-2", key=KEYS["kid-2"])
            assert served.run() is JobState.SUCCEEDED
        finally:
            served.close()


def test_no_directory_leads_to_plain_http(served: Served) -> None:
    """An authority whose directory names an address without TLS is not spoken to there."""
    account = make_account_key()
    wish = check_wish(served.pebble.directory, [NAME], Way.DNS, "", agreed=True)
    plain = replace(wish, directory=wish.directory.replace("https://", "http://"))
    with pytest.raises(AuthorityUnreachable):
        open_exchange(plain, account, str(served.pebble.ca_bundle))
    open_exchange(wish, account, str(served.pebble.ca_bundle))


def _await_closed(served: Served) -> None:
    """Wait until the web interface has closed the door of the order before."""
    deadline = time.monotonic() + 60
    while (
        served.side._listener is not None
        or _status(served.box.settings.acme_http_port, "/") is not None
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _status(port: int, path: str, method: str = "GET") -> tuple[int, bytes] | None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return None


def test_it_is_renewed_at_two_thirds_of_its_life_with_another_key(
    served: Served, pebble: Pebble
) -> None:
    """By the worker alone, with the account of before; the web interface goes on meanwhile."""
    served.ask(Way.HTTP)
    assert served.run() is JobState.SUCCEEDED
    first = served.shown(NAME)
    planner = Planner(served.box.settings, served.box.database)

    def wished(after: timedelta) -> bool:
        return served.reading().is_due(utc_now() + after)

    life = first.not_valid_after_utc - first.not_valid_before_utc
    assert not wished(life * 0.6)
    assert wished(life * 0.67)
    assert RenewCertificate() not in planner.turn(utc_now())
    known = served.reading().served
    assert known is not None
    with served.box.database.write() as connection:
        certificates.keep_served(
            connection, replace(known, begins=known.begins - 3 * life), now=utc_now()
        )
        connection.exec_driver_sql("UPDATE job SET finished_at = '2026-01-01T00:00:00.000000Z'")
    assert RenewCertificate() in planner.turn(utc_now())
    assert served.run() is JobState.SUCCEEDED
    second = served.shown(NAME, pebble.trust())
    assert second.serial_number != first.serial_number
    assert second.public_key() != first.public_key()
    with served.box.database.read() as connection:
        accounts = connection.exec_driver_sql(
            "SELECT count(*) FROM secret WHERE name LIKE 'acme:%'"
        ).scalar()
    assert accounts == 1


def test_killed_between_order_and_certificate_it_goes_on_with_the_same_order(
    served: Served, pebble: Pebble
) -> None:
    """kill -9 after each thing that was written down; at last one certificate is there, and shown."""
    served.ask(Way.DNS)
    environment = {
        "ARMOIRE_ACME_RESOLVER": pebble.resolver,
        "ARMOIRE_ACME_CA_BUNDLE": str(pebble.ca_bundle),
    }

    def kill_behind(module: str, function: str, **values: bool) -> object:
        _, process = served.box.start(
            RenewCertificate(**values),
            module=("tests.support.kill_behind", module, function),
            **environment,
        )
        assert process.wait(120) == -signal.SIGKILL, function
        served.box.interrupt_all()
        assert served.fact(certificates.CHAIN) is None
        order = served.fact(certificates.ORDER)
        return order["url"] if isinstance(order, dict) else None

    assert kill_behind("acme_client", "new_order") is None
    orders = {kill_behind("certificate_renew", "_order")}
    assert served.run() is JobState.WARNED
    served.enter_records()
    orders.add(kill_behind("certificate_renew", "_ask_to_look"))
    orders.add(kill_behind("acme_client", "finalise"))
    orders.add(kill_behind("acme_client", "chain"))
    assert len(orders) == 1
    assert None not in orders
    assert served.run() is JobState.SUCCEEDED
    served.shown(NAME, pebble.trust())


def test_what_the_web_was_killed_over_is_taken_up_again(served: Served, pebble: Pebble) -> None:
    """A chain that came while it was down is shown; a key that burned leads to another certificate, not to a loop."""
    served.ask(Way.HTTP)
    assert served.run() is JobState.SUCCEEDED
    serial = served.shown(NAME).serial_number
    served.stop_side()
    settings = served.box.settings
    (settings.tls / acme.SHOWN).unlink()
    with served.box.database.read() as connection:
        request = certificates.mapping(connection, certificates.REQUEST)
    again = AcmeSide(settings, served.box.database, lambda: None)
    again.turn(utc_now())
    assert served.reading().served is None
    assert served.reading().is_due(utc_now() + timedelta(hours=7))
    with served.box.database.read() as connection:
        assert certificates.mapping(connection, certificates.REQUEST) == request
    threading.Thread(target=again.watch, args=(0.1,), daemon=True).start()
    try:
        assert served.run() is JobState.SUCCEEDED
        found = x509.load_pem_x509_certificates((settings.tls / acme.SHOWN).read_bytes())[0]
        assert found.serial_number != serial
    finally:
        again.end()


@pytest.mark.usefixtures("patience")
def test_what_the_web_has_not_taken_is_not_asked_for_again(served: Served, pebble: Pebble) -> None:
    """A web interface that is down for days costs one certificate, not four a day; back, it shows it."""
    served.ask(Way.DNS)
    assert served.run() is JobState.WARNED
    served.enter_records()
    served.stop_side()
    assert served.run() is JobState.SUCCEEDED
    chain = served.fact(certificates.CHAIN)
    assert served.reading().is_due(utc_now() + timedelta(hours=7))
    with pytest.raises(WebSilent):
        served.run()
    assert served.fact(certificates.CHAIN) == chain
    assert served.fact(certificates.ORDER) is None
    AcmeSide(served.box.settings, served.box.database, lambda: None).turn(utc_now())
    assert served.reading().served is not None
    assert not served.reading().is_due(utc_now() + timedelta(hours=7))


def test_an_authority_that_says_no_is_told_in_words_and_the_old_one_stays(
    served: Served, pebble: Pebble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No name, a closed port, an answer or a record of somebody else, terms nobody agreed to: each has its sentence."""
    served.ask(Way.HTTP)
    assert served.run() is JobState.SUCCEEDED
    first = served.shown(NAME)
    other = "bilan.cabinet-martin.fr"

    def refused(error: type[Exception], way: Way, **values: bool) -> Exception:
        served.ask(way, NAME, other)
        with pytest.raises(error) as raised:
            served.run(**values)
        assert served.shown(NAME) == first
        said = served.reading()
        assert not said.is_due(utc_now() + timedelta(hours=5))
        assert said.is_due(utc_now() + timedelta(hours=7))
        return raised.value

    pebble.dns_says("set-servfail", host=f"{other}.")
    error = refused(NameNotResolved, Way.HTTP)
    assert error.name == other
    pebble.dns_says("clear-servfail", host=f"{other}.")
    _await_closed(served)
    monkeypatch.setattr(acme, "listen", lambda _settings: _Deaf())
    assert refused(PortClosed, Way.HTTP).name in {NAME, other}
    monkeypatch.undo()
    _await_closed(served)
    monkeypatch.setattr(certificate_renew, "_prove_by_http", _lie)
    refused(AnswerWrong, Way.HTTP)
    monkeypatch.undo()
    refused(RecordMissing, Way.DNS, anyway=True)
    served.ask(Way.DNS, NAME, other)
    assert served.run() is JobState.WARNED
    for each in served.reading().records:
        pebble.dns_says("clear-txt", host=f"{each.name}.")
        pebble.dns_says("set-txt", host=f"{each.name}.", value="an-old-one")
    refused(AnswerWrong, Way.DNS, anyway=True)
    served.ask(Way.HTTP, agreed=False)
    with pytest.raises(TermsNotAgreed) as raised:
        served.run()
    assert raised.value.terms.startswith("data:text/plain")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    served.ask(Way.HTTP, directory=f"https://127.0.0.1:{port}/dir")
    with pytest.raises(AuthorityUnreachable):
        served.run()
    assert served.shown(NAME) == first


class _Deaf:
    """A listener nobody reaches: what a router that forwards nothing is like."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}

    def end(self) -> None:
        pass


def _lie(context, exchange, todo) -> None:
    lies = [replace(each, answer=each.answer[:-1] + "_") for each in todo]
    original = certificate_renew.certificates
    answers = {each.token: each.answer for each in lies}
    until = (utc_now() + timedelta(minutes=2)).isoformat()
    certificate_renew._put(context, original.ANSWERS, {"answers": answers, "until": until})
    certificate_renew._await_listener(context, sorted(answers))
    try:
        certificate_renew._ask_to_look(context, exchange, todo)
    finally:
        certificate_renew._put(context, original.ANSWERS, None)


def test_a_port_that_is_taken_is_said(served: Served) -> None:
    """With what to do about it; not as a mistake of the authority's."""
    with socket.create_server(("127.0.0.1", served.box.settings.acme_http_port)):
        served.ask(Way.HTTP)
        with pytest.raises(NoListener) as raised:
            served.run()
    assert raised.value.port == served.box.settings.acme_http_port
    assert raised.value.reason == "another program has taken it"


HOOK = """#!{python}
import json, sys, urllib.request
verb, name, value = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(f"{{verb}} {{name}}\\n")
words = {{"add": ("set-txt", dict(host=name + ".", value=value)), "remove": ("clear-txt", dict(host=name + "."))}}
path, body = words[verb]
urllib.request.urlopen("http://127.0.0.1:{port}/" + path, json.dumps(body).encode(), timeout=10).close()
"""


def test_a_program_of_the_administrators_enters_the_record(
    served: Served, pebble: Pebble, tmp_path: Path
) -> None:
    """And takes it away again; one that others could change is not run at all."""
    hook = tmp_path / "enter-record"
    log = tmp_path / "log"
    hook.write_text(HOOK.format(python=sys.executable, log=str(log), port=pebble.dns_management))
    hook.chmod(0o755)
    served.box.settings = replace(served.box.settings, acme_hook=str(hook))
    served.ask(Way.DNS)
    if _is_safe(tmp_path):
        assert served.run() is JobState.SUCCEEDED
        served.shown(NAME, pebble.trust())
        assert log.read_text() == f"add _acme-challenge.{NAME}\nremove _acme-challenge.{NAME}\n"
    log.unlink(missing_ok=True)
    hook.chmod(0o775)
    with pytest.raises(HookFailed, match="others may change it"):
        served.run()
    hook.chmod(0o644)
    with pytest.raises(HookFailed, match="not a program"):
        served.run()
    assert not log.exists()


def _is_safe(folder: Path) -> bool:
    return all(each.stat().st_uid in {0, os.geteuid()} for each in (folder, *folder.parents))


def test_giving_it_up_shows_the_boxs_own_again(served: Served) -> None:
    """And nothing is asked any more."""
    own = served.shown(NAME)
    served.ask(Way.HTTP)
    assert served.run() is JobState.SUCCEEDED
    assert served.shown(NAME) != own
    with served.box.database.write() as connection:
        assert certificates.give_up(connection, person_id=None, actor="test", now=utc_now())
    deadline = time.monotonic() + 90
    while served.shown(NAME) != own:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not (served.box.settings.tls / acme.SHOWN).exists()
    assert not served.reading().is_due(utc_now() + timedelta(days=400))
    with contextlib.suppress(FileNotFoundError):
        assert not (served.box.settings.tls / acme.NEXT).exists()


def test_the_command_gets_it_for_a_box_that_is_served(tmp_path: Path, pebble: Pebble) -> None:
    """From `armoire certificate acme` to what a browser is shown, by the worker of `armoire run`; the record in words."""
    box = Box(tmp_path / "data")
    box.close()
    port = free_port()
    armoire = Armoire(
        box.settings.data, ARMOIRE_LISTEN_PORT=str(port), ARMOIRE_ACME_HTTP_PORT=str(pebble.http_port),
        ARMOIRE_ACME_RESOLVER=pebble.resolver, ARMOIRE_ACME_CA_BUNDLE=str(pebble.ca_bundle),
    )  # fmt: skip
    asked = ("certificate", "acme", "--name", NAME, "--directory", pebble.directory)
    assert armoire(*asked, "--name", "192.168.1.1").code == 2
    web = armoire.start("run")
    try:
        shown = armoire(*asked, "--accept-terms")
        assert shown.code == 3, shown
        assert f"_acme-challenge.{NAME}.  TXT  " in shown.out.decode()
        body = armoire.json("certificate", "show")["acme"]
        assert body["records"][0]["value"] in shown.out.decode()
        assert body["until"] is None
        body = armoire.json(*asked, "--way", "http", "--accept-terms")
        assert body["issuer"].startswith("Pebble")
        assert body["records"] == []
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as line,
            pebble.trust().wrap_socket(line, server_hostname=NAME) as secured,
        ):
            assert secured.getpeercert()["subjectAltName"] == (("DNS", NAME),)
        assert armoire("certificate", "own").code == 0
    finally:
        end(web)
