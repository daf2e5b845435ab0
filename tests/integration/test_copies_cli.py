"""Copies from the command line alone: a real SFTP host, a labelled disk, a host's dossier, letters.

One box for the whole module: each test reads what was made before, or adds to it. No worker: jobs run here.
"""

import json
import os
import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from appliance.clock import utc_now
from appliance.replication.targets.directory import LABEL_FILE, DiskLabel, write_label
from tests.support.armoire import Armoire
from tests.support.armoire_here import ArmoireHere
from tests.support.small_disk import mounted
from tests.support.sshd import SshServer

pytestmark = pytest.mark.integration
TODAY = utc_now().date()


@dataclass
class Practice:
    """A box with one share and one night behind it, and an SFTP host."""

    armoire: Armoire
    server: SshServer
    folder: Path
    share: Path

    @property
    def place(self) -> Path:
        """Where the host keeps what is sent."""
        return self.folder / "host"


@pytest.fixture(scope="module")
def practice(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies")
    share = folder / "partage"
    share.mkdir()
    (share / "modele.txt").write_text("modele\n" * 1000)
    (folder / "host").mkdir()
    with SshServer(config="ForceCommand internal-sftp") as server:
        armoire = ArmoireHere(folder / "box", ARMOIRE_CHECK_SECONDS="1")
        armoire.json("init")
        armoire.json("share", "add", "partage", share)
        armoire.json("night")
        yield Practice(armoire, server, folder, share)


@pytest.fixture(scope="module")
def host(practice):
    """«hote», added as a person does it, its key let in, its identity confirmed."""
    added = practice.armoire.json(
        "target", "add", "hote", "--kind", "sftp", "--host", practice.server.host,
        "--port", practice.server.port, "--user", practice.server.user, "--folder", practice.place,
        "--nature", "same-practice-elsewhere", "--distance", 40, "--label", "Hôte de l’Est",
    )  # fmt: skip
    practice.server.authorize(added["public_key"])
    practice.armoire.json("target", "confirm", "hote", "--host-key", added["fingerprint"])
    return added


# --- a host ----------------------------------------------------------------------------------------


def test_adding_a_host_says_which_key_to_give_it_and_which_identity_to_compare(practice, host):
    """For a program and for a person; nothing is pinned before somebody compared."""
    assert host["public_key"].startswith("ssh-ed25519 ")
    assert host["fingerprint"].startswith("SHA256:")
    assert host["place"]["host_key"] == ""
    (listed,) = practice.armoire.json("target", "list")["targets"]
    assert listed["place"]["host_key"] == practice.server.host_key
    assert (listed["nature"], listed["distance_km"]) == ("same-practice-elsewhere", 40)


def test_a_wrong_fingerprint_confirms_nothing(practice, host):
    """Somebody in between shows another one."""
    answer = practice.armoire.json(
        "target", "confirm", "hote", "--host-key", "SHA256:" + "A" * 43, code=1
    )

    assert answer["error"]["code"] == "target.identity-changed"


def test_a_host_is_tried_in_words(practice, host):
    """Exit code 0 and a line a step, in the reader's language."""
    body = practice.armoire.json("target", "check", "hote")
    french = ArmoireHere(practice.armoire.data, ARMOIRE_LANG="fr")("target", "check", "hote")

    assert {each["check"]: each["outcome"] for each in body["checks"]}["write"] == "ok"
    assert "✓ Il en revient tel qu’il a été écrit." in french.out.decode()


def test_a_copy_is_sent_proven_and_listed(practice, host):
    """«push», «generations», «verify-copy»: one generation, every proof good; the kit is asked for."""
    pushed = practice.armoire.json("push", "hote")

    assert pushed["targets"][0]["generation"] == 1
    assert {each["state"] for each in pushed["jobs"]} <= {"succeeded", "warned"}
    (one,) = practice.armoire.json("generations", "hote")["generations"]
    assert one["number"] == 1
    assert one["files"] > 0
    assert list((practice.place / "generations").iterdir())
    verified = practice.armoire.json("verify-copy", "hote", "--full")
    assert verified["proofs"]["copy.read-back"]["outcome"] == "proven"
    shown = practice.armoire.json("target", "show", "hote")
    assert shown["generations"] == 1
    assert shown["level"] != "proven"  # until somebody typed words of the kit


def test_the_truth_about_a_plain_account_is_said(practice, host):
    """Our own key can empty it."""
    body = practice.armoire.json("target", "tamper", "hote")

    assert body["tamper"]["immutable"] is False
    assert {each["outcome"] for each in body["tamper"]["attempts"]} == {"done"}


def test_the_timetable_is_written_and_read_as_people_do(practice, host):
    """Rules go in and come out the same; nonsense is wrong usage."""
    set_ = practice.armoire.json("target", "bandwidth", "hote", "mon-fri 08:00-19:00 2Mbit", "free")
    assert set_["rules"] == ["mon-fri 08:00-19:00 2Mbit", "free"]
    assert practice.armoire.json("target", "bandwidth", "hote")["rules"] == set_["rules"]
    assert practice.armoire("target", "bandwidth", "hote", "pause").code == 2
    assert practice.armoire("target", "bandwidth", "hote", "when it rains").code == 2
    practice.armoire.json("target", "bandwidth", "hote", "--free")


def test_what_no_target_is_called_is_wrong_usage(practice):
    """Exit code 2 for every command, and no trace."""
    for command in (["target", "check"], ["target", "adopt"], ["generations"], ["push"],
                    ["verify-copy"], ["host", "show"], ["host", "letter"]):  # fmt: skip
        ran = practice.armoire(*command, "nobody")
        assert ran.code == 2, (command, ran)
        assert "Traceback" not in ran.err


def test_a_password_is_read_from_standard_input_and_shown_nowhere(practice):
    """Not in argv, not in the answer, not in the database in the clear."""
    answer = practice.armoire(
        "target", "add", "mdp", "--kind", "sftp", "--host", practice.server.host,
        "--port", practice.server.port, "--user", "x", "--password", "--json",
        stdin="tres-secret-31\n",
    )  # fmt: skip

    assert answer.code == 0, answer
    assert b"tres-secret-31" not in answer.out
    assert b"tres-secret-31" not in (practice.armoire.data / "state.sqlite").read_bytes()
    assert practice.armoire("target", "remove", "mdp").code == 4  # nobody to ask
    assert practice.armoire.json("target", "remove", "mdp", "--yes")["removed"] is True


def test_a_bucket_is_added_with_two_keys_from_standard_input(practice):
    """First line the access key, second the secret one; changed the same way; neither is shown."""
    answer = practice.armoire(
        "target", "add", "seau", "--kind", "s3", "--endpoint", "https://s3.invalid", "--region",
        "gra", "--bucket", "cabinet", "--lock", "COMPLIANCE", "--json",
        stdin="AKIA-31\nsecret-de-seau\n",
    )  # fmt: skip

    assert answer.code == 0, answer
    assert answer.body["place"]["lock_days"] == 30
    assert b"secret-de-seau" not in answer.out
    changed = practice.armoire.json(
        "target", "change", "seau", "--set", "lock_days=60", "--set", "country=FR",
        "--label", "Seau", "--nature", "certified-host", "--distance", 300,
    )  # fmt: skip
    assert (changed["place"]["lock_days"], changed["place"]["country"]) == (60, "FR")
    assert (changed["label"], changed["distance_km"]) == ("Seau", 300)
    for pair in ("lock_days=many", "colour=blue", "lock_mode=SOFT", "nonsense"):
        assert practice.armoire("target", "change", "seau", "--set", pair).code == 2, pair
    assert practice.armoire("target", "add", "vide", "--kind", "s3", "--endpoint", "https://x",
                            "--bucket", "b").code == 2  # fmt: skip
    practice.armoire.json("target", "remove", "seau", "--yes")


def test_what_a_kind_needs_is_asked_before_anything_is_made(practice):
    """Wrong usage leaves no half target behind."""
    for given in (
        ["--kind", "sftp", "--host", "x"], ["--kind", "box", "--user", "x"], ["--kind", "directory"],
        ["--kind", "s3", "--bucket", "x"], ["--kind", "ftp"],
        ["--kind", "box", "--host", "x", "--user", "y", "--password"],
    ):  # fmt: skip
        ran = practice.armoire("target", "add", "rate", *given)
        assert ran.code == 2, (given, ran)
    names = [each["name"] for each in practice.armoire.json("target", "list")["targets"]]
    assert "rate" not in names


# --- dossier and letters -----------------------------------------------------------------------------


def test_a_host_without_a_dossier_gets_nothing_and_with_one_it_does(practice):
    """Declared certified: sends stop until the dossier is whole; «push» is then refused, exit code 4."""
    armoire = practice.armoire
    place = practice.folder / "certifie"
    place.mkdir()
    added = armoire.json(
        "target", "add", "certifie", "--kind", "sftp", "--host", practice.server.host,
        "--port", practice.server.port, "--user", practice.server.user, "--folder", place,
    )  # fmt: skip
    practice.server.authorize(added["public_key"])
    armoire.json("target", "confirm", "certifie", "--host-key", added["fingerprint"])

    shown = armoire.json("host", "add", "certifie", "--set", "company=Hôte SAS", code=3)
    assert shown["may_send"] is False
    assert "hosting.field-missing" in {each["code"] for each in shown["remarks"]}
    assert armoire("push", "certifie").code == 4
    assert not (place / "generations").exists()

    paper = practice.folder / "certificat.pdf"
    paper.write_bytes(b"%PDF")
    today = TODAY
    whole = armoire.json(
        "host", "edit", "certifie", "--set", "certificate_number=HDS-1", "--set",
        "certification_body=LSTI", "--set", "version=v2", "--set", "activities=1,2,6",
        "--set", f"issued_on={today - timedelta(days=100)}", "--set", f"expires_on={today + timedelta(days=700)}",
        "--set", "sites=Metz/FR; Oslo/NO", "--set", "access_from_outside=none", "--set", "contract.1-14=present",
        "--set", "contract_reference=C-77", "--set", f"contract_signed_on={today}", "--set", "products=SFTP",
        "--set", "subcontractors=Salle Est/baies/certified/1,2",
        "--set", "professional=Dr Claire Morel/10001234567", "--document", f"certificate={paper}",
    )  # fmt: skip
    assert whole["may_send"] is True
    assert whole["dossier"]["sites"] == [
        {"city": "Metz", "country": "FR"},
        {"city": "Oslo", "country": "NO"},
    ]
    assert armoire.json("push", "certifie")["targets"][0]["generation"] == 1


def test_a_wrong_field_is_named_and_changes_nothing(practice):
    """Wrong usage, with the field's name; the dossier stays as it was."""
    before = practice.armoire.json("host", "show", "certifie")["dossier"]
    for pair in ("colour=blue", "sites=Metz", "activities=7", "expires_on=demain", "contract.15=present"):  # fmt: skip
        ran = practice.armoire("host", "edit", "certifie", "--set", pair)
        assert ran.code == 2, ran
        assert pair.split(".")[0].split("=")[0] in ran.err
    assert practice.armoire.json("host", "show", "certifie")["dossier"] == before


def test_letters_are_printed_as_html_in_french(practice):
    """A file that a browser prints: name, number and contract; missing facts are exit code 3."""
    out = practice.folder / "lettre.html"
    ran = practice.armoire("host", "letter", "certifie", "designation", "--out", out)

    assert ran.code == 3  # no deputy yet, and the practice has no name
    text = out.read_text("utf-8")
    assert "10 001 234 567" in text
    assert "C-77" in text
    assert '<html lang="fr">' in text
    sheet = practice.armoire.json("host", "letter", "certifie", "reversibility", code=3)
    assert "1 génération" in sheet["html"]


# --- disks -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def disk(practice):
    """A disk at a folder of its own (here of the same file system), labelled."""
    folder = practice.folder / "usb"
    folder.mkdir()
    (folder / "vacances.jpg").write_bytes(b"not ours")
    body = practice.armoire.json(
        "disk", "label", folder, "--name", "disque-a", "--expires",
        str(TODAY + timedelta(days=900)), "--always-here", "--anyway",
    )  # fmt: skip
    assert body["place"]["is_removable"] is True
    return folder


def test_a_disk_is_labelled_once_and_nothing_else_on_it_is_touched(practice, disk):
    """The same label whoever asks again; a person's own file stays."""
    first = (disk / LABEL_FILE).read_bytes()
    practice.armoire.json("disk", "label", disk, "--name", "autre", "--always-here", "--anyway")

    assert (disk / LABEL_FILE).read_bytes() == first
    assert (disk / "vacances.jpg").read_bytes() == b"not ours"
    names = [each["name"] for each in practice.armoire.json("target", "list")["targets"]]
    assert "autre" not in names


def test_a_folder_on_the_boxs_own_disk_is_no_copy(practice):
    """It would burn with the box."""
    folder = practice.folder / "nebenan"
    folder.mkdir()
    for command in (
        ["disk", "label", folder, "--name", "ici"],
        ["target", "add", "ici", "--kind", "directory", "--folder", folder],
    ):
        ran = practice.armoire(*command)
        assert ran.code == 4
        assert "burns with it" in ran.err
    assert list(folder.iterdir()) == []


def test_a_plugged_disk_is_copied_to_and_then_may_go(practice, disk):
    """What systemd calls: push and proof; after unmounting: «you may take it away»."""
    body = practice.armoire.json("disk", "plugged", disk)
    assert {each["state"] for each in body["jobs"]} <= {"succeeded", "warned"}
    assert len(practice.armoire.json("generations", "disque-a")["generations"]) == 1
    assert practice.armoire.json("target", "show", "disque-a")["facts"]["disk"]["state"] == "done"

    assert practice.armoire.json("disk", "away", disk)["state"] == "away"


def test_disks_that_are_not_to_be_used_are_refused_with_the_reason(practice, tmp_path):
    """Unlabelled, another box's, expired, unreadable, unknown: exit code 4, and nothing is written."""
    plain = tmp_path / "plain"
    plain.mkdir()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    write_label(theirs, DiskLabel("cd" * 16, "another-box", "Leur disque", date(2026, 1, 1)))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / LABEL_FILE).write_text("= nonsense")
    ours = practice.folder / "usb" / LABEL_FILE
    box_id = next(
        line.split('"')[1] for line in ours.read_text().splitlines() if line.startswith("box_id")
    )
    old = tmp_path / "old"
    old.mkdir()
    write_label(old, DiskLabel("ef" * 16, box_id, "Vieux", date(2020, 1, 1), date(2024, 1, 1)))
    unknown = tmp_path / "unknown"
    unknown.mkdir()
    write_label(unknown, DiskLabel("aa" * 16, box_id, "Oublié", date(2026, 1, 1)))

    for folder, said in (
        (plain, "carries no label"), (theirs, "belongs to another box"), (broken, "cannot be read"),
        (old, "past the date"), (unknown, "no destination any more"),
    ):  # fmt: skip
        before = sorted(folder.iterdir())
        ran = practice.armoire("disk", "plugged", folder)
        assert (ran.code, said in ran.err) == (4, True), ran
        assert sorted(folder.iterdir()) == before
    french = ArmoireHere(practice.armoire.data, ARMOIRE_LANG="fr")("disk", "plugged", theirs)
    assert "appartient à un autre boîtier. Rien n’y a été écrit." in french.err
    assert practice.armoire("disk", "label", theirs, "--name", "vole", "--anyway").code == 4


def test_a_first_copy_is_carried_to_the_host_by_disk(practice, disk):
    """Copied by hand from the disk to the host's folder, adopted: the next push sends only a generation."""
    armoire = practice.armoire
    place = practice.folder / "porte"
    place.mkdir()
    added = armoire.json(
        "target", "add", "porte", "--kind", "sftp", "--host", practice.server.host,
        "--port", practice.server.port, "--user", practice.server.user, "--folder", place,
        "--nature", "same-practice-elsewhere",
    )  # fmt: skip
    practice.server.authorize(added["public_key"])
    armoire.json("target", "confirm", "porte", "--host-key", added["fingerprint"])
    for path in disk.iterdir():
        if path.is_dir():
            shutil.copytree(path, place / path.name)
    before = {path.name for path in (place / "objects").rglob("*") if path.is_file()}

    adopted = armoire.json("target", "adopt", "porte")
    assert (adopted["generations"], adopted["missing"], adopted["altered"]) == (1, 0, 0)
    assert adopted["objects"] == len(before)
    assert adopted["read_back"] > 0

    pushed = armoire.json("push", "porte")
    assert pushed["targets"][0]["generation"] == 2
    after = {path.name for path in (place / "objects").rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts disks")
def test_a_disk_is_known_by_its_label_at_whatever_path_it_appears(practice, tmp_path):
    """Two real mounts, swapped between two nights: each copy goes to its own disk."""
    one, two = tmp_path / "one", tmp_path / "two"
    with mounted(one, 64 << 20):
        label = practice.armoire.json("disk", "label", one, "--name", "disque-b")
        assert label["place"]["folder"] == ""
        assert practice.armoire("disk", "plugged", one).code in {0, 3}
        content = {path: path.read_bytes() for path in one.rglob("*") if path.is_file()}
    assert practice.armoire("push", "disque-b").code == 1  # not plugged in
    with mounted(two, 64 << 20):
        for path, data in content.items():  # the same disk, at another path
            target = two / path.relative_to(one)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        again = practice.armoire.json("disk", "plugged", two)
        assert again["disk_id"] == label["disk_id"]
        assert (two / "generations" / "0000000002").is_file()


def test_every_answer_is_one_json_object(practice, host):
    """For programs: errors too."""
    for command in (["target", "list"], ["target", "show", "hote"], ["generations", "hote"],
                    ["disk", "plugged", practice.folder]):  # fmt: skip
        ran = practice.armoire(*command, "--json")
        assert isinstance(json.loads(ran.out), dict)
