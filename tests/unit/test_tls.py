"""The certificate of the web interface."""

import ipaddress
import ssl
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from cryptography import x509

from appliance.clock import utc_now
from appliance.web import tls
from appliance.web.server import Renewal

NOW = utc_now()


def load(path):
    return x509.load_pem_x509_certificates(path.read_bytes())


def test_a_box_makes_its_authority_once_and_a_leaf_for_its_names(settings):
    """Local names and addresses; the key is for its user only; the chain is in the file."""
    certificate, key = tls.ensure_certificate(settings, now=NOW)

    leaf, authority = load(certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert ipaddress.ip_address("127.0.0.1") in names.get_values_for_type(x509.IPAddress)
    leaf.verify_directly_issued_by(authority)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(days=399)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((settings.tls / "ca.key").stat().st_mode) == 0o600


def test_the_leaf_is_renewed_in_time_and_the_authority_stays(settings):
    """Nobody installs a certificate again."""
    certificate, _ = tls.ensure_certificate(settings, now=NOW)
    first = certificate.read_bytes()
    authority = (settings.tls / "ca.crt").read_bytes()

    tls.ensure_certificate(settings, now=NOW + timedelta(days=300))
    assert certificate.read_bytes() == first
    tls.ensure_certificate(settings, now=NOW + timedelta(days=350))

    assert certificate.read_bytes() != first
    assert (settings.tls / "ca.crt").read_bytes() == authority


def test_a_new_address_of_the_box_is_in_a_new_leaf(settings):
    """A box that moved to another network is reached without a warning."""
    from dataclasses import replace

    tls.ensure_certificate(settings, now=NOW)
    moved = replace(settings, listen_address="192.168.77.7")

    certificate, _ = tls.ensure_certificate(moved, now=NOW)

    names = load(certificate)[0].extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert ipaddress.ip_address("192.168.77.7") in names.value.get_values_for_type(x509.IPAddress)


def test_the_authority_may_sign_for_nothing_public(settings):
    """Trusting it lets nobody imitate a bank."""
    tls.ensure_certificate(settings, now=NOW)
    authority = load(settings.tls / "ca.crt")[0]
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints)

    assert constraints.critical
    for subtree in constraints.value.permitted_subtrees:
        if isinstance(subtree, x509.IPAddress):
            assert subtree.value.is_private or str(subtree.value) == "100.64.0.0/10"
        else:
            assert "." not in subtree.value or subtree.value == "home.arpa"
    from dataclasses import replace

    public, _ = tls.ensure_certificate(replace(settings, listen_address="8.8.8.8"), now=NOW)
    names = load(public)[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ipaddress.ip_address("8.8.8.8") not in names.get_values_for_type(x509.IPAddress)


def test_a_pair_put_there_by_the_practice_is_used(settings):
    """A certificate of its own wins."""
    settings.tls.mkdir()
    for name in ("own.crt", "own.key"):
        (settings.tls / name).write_text("theirs")

    assert tls.ensure_certificate(settings)[0].name == "own.crt"


@pytest.mark.parametrize("damage", ["", "nonsense"])
def test_a_damaged_leaf_is_made_again(settings, damage):
    """A cut while writing stops nobody from seeing the pages."""
    certificate, _ = tls.ensure_certificate(settings, now=NOW)
    certificate.write_text(damage)

    again, _ = tls.ensure_certificate(settings, now=NOW)

    assert len(load(again)) == 2


def fits(certificate, key):
    """Whether a server can start with this pair."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    return True


def test_a_key_of_another_leaf_is_not_kept(settings):
    """A power cut between the two files: the box starts again all the same."""
    certificate, key = tls.ensure_certificate(settings, now=NOW)
    first = certificate.read_bytes()
    certificate.unlink()
    tls.ensure_certificate(settings, now=NOW)
    certificate.write_bytes(first)

    assert fits(*tls.ensure_certificate(settings, now=NOW))
    assert key.exists()


def at_once(work, count=8):
    """Return what ``work`` gave in each of ``count`` threads."""
    together = threading.Barrier(count)

    def one(_):
        together.wait(20)
        return work()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_threads_that_make_a_leaf_at_once_make_one_pair(settings):
    """The look from time to time, a new address and ACME ask whenever they like."""
    for _ in range(5):
        (settings.tls / "box.crt").unlink(missing_ok=True)
        at_once(lambda: tls.ensure_certificate(settings, now=NOW))
        assert fits(settings.tls / "box.crt", settings.tls / "box.key")


def test_a_new_certificate_is_taken_once_whoever_looks(settings):
    """Nobody loads half of a pair that another is about to load."""
    renewal = Renewal(settings, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    for _ in range(5):
        (settings.tls / "box.crt").unlink()
        assert sorted(at_once(renewal.look)) == [False] * 7 + [True]
