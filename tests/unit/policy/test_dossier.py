"""The host's dossier is read strictly and stored whole."""

from datetime import date

import pytest

from appliance.errors import InvalidInput
from appliance.policy import dossier as dossiers
from appliance.policy.hosting import (
    AccessFromOutside,
    CertificateState,
    ContractState,
    Document,
    Dossier,
    Nature,
    Professional,
    Site,
    Subcontractor,
    judge,
)

WHOLE = Dossier(
    company="Hébergement Santé Lorrain",
    siren="123456789",
    incident_contact="astreinte@hote.example, 03 00 00 00 00",
    certificate_number="HDS-2026-0042",
    certification_body="LSTI",
    version="v2",
    activities=frozenset({1, 2, 6}),
    issued_on=date(2026, 1, 10),
    expires_on=date(2029, 1, 9),
    list_checked_on=date(2026, 11, 1),
    audited_on=date(2026, 6, 1),
    sites=(Site("Metz", "FR"), Site("Oslo", "NO")),
    access_from_outside=AccessFromOutside.ADEQUACY,
    foreign_laws=("FISA 702",),
    residual_risk="chiffré chez nous",
    transfers_page="https://hote.example/transferts",
    transfers_read_on=date(2026, 10, 1),
    subcontractors=(Subcontractor("Salle Est", "baies", True, frozenset({1, 2})),),
    contract_reference="C-77",
    contract_signed_on=date(2026, 2, 1),
    products=("stockage S3 verrouillé",),
    contract=dict.fromkeys(range(1, 15), ContractState.PRESENT),
    contact="Dr Claire Morel",
    professional=Professional("Dr Claire Morel", "10001234567", date(2026, 2, 1)),
    deputy=Professional("Dr Hugo Petit", "10007654321", date(2026, 2, 1)),
    documents=(Document("certificate", "ab" * 32),),
    grace_days=7,
)


def test_every_field_of_a_dossier_is_stored_and_read_back():
    """A whole dossier goes to JSON and comes back the same; an empty one stores nothing."""
    import json

    stored = json.loads(json.dumps(dossiers.to_stored(WHOLE)))

    assert dossiers.parse(stored) == WHOLE
    assert set(stored) == {name for name in Dossier.__slots__} - {"suspended_on"}
    assert dossiers.to_stored(Dossier()) == {}
    assert dossiers.parse({}) == Dossier()


def test_a_stored_dossier_gives_the_verdict_of_its_certificate():
    """What was stored is judged: this host may keep a copy, and its certificate is valid."""
    read = dossiers.parse(dossiers.to_stored(WHOLE))

    verdict = judge(Nature.CERTIFIED_HOST, read, date(2026, 11, 23))

    assert verdict.may_send
    assert verdict.state is CertificateState.VALID


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"compagny": "x"}, "compagny"),
        ({"company": 3}, "company"),
        ({"company": "x" * 501}, "company"),
        ({"siren": "12345678"}, "siren"),
        ({"siren": "١٢٣٤٥٦٧٨٩"}, "siren"),
        ({"version": "v3"}, "version"),
        ({"activities": [6, 7]}, "activities"),
        ({"activities": [True]}, "activities"),
        ({"activities": "6"}, "activities"),
        ({"expires_on": "31/12/2027"}, "expires_on"),
        ({"expires_on": 20271231}, "expires_on"),
        ({"issued_on": "2027-01-02", "expires_on": "2027-01-01"}, "expires_on"),
        ({"sites": [{"city": "Metz", "country": "France"}]}, "sites.0.country"),
        ({"sites": [{"city": "Metz"}]}, "sites.0.country"),
        ({"sites": [{"city": "Metz", "country": "FR", "zip": "57"}]}, "sites.0.zip"),
        ({"sites": {"city": "Metz"}}, "sites"),
        ({"access_from_outside": "some"}, "access_from_outside"),
        ({"transfers_page": "javascript:alert(1)"}, "transfers_page"),
        ({"subcontractors": [{"name": "A", "is_certified": "yes"}]}, "subcontractors.0.is_certified"),
        ({"contract": {"15": "present"}}, "contract.15"),
        ({"contract": {"3": "perhaps"}}, "contract.3"),
        ({"contract": ["present"]}, "contract"),
        ({"professional": {"name": "", "rpps": "1", "designated_on": "2026-01-01"}}, "professional.name"),
        ({"professional": {"name": "A", "rpps": "1"}}, "professional.designated_on"),
        ({"documents": [{"kind": "certificate", "sha256": "zz"}]}, "documents.0.sha256"),
        ({"documents": [{"kind": "poem", "sha256": "ab" * 32}]}, "documents.0.kind"),
        ({"grace_days": -1}, "grace_days"),
        ({"grace_days": True}, "grace_days"),
        ({"products": ["x"] * 51}, "products"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_and_the_field_is_named(values, field):
    """A wrong type, an unknown field or an impossible value never lands in the box."""
    with pytest.raises(InvalidInput) as raised:
        dossiers.parse(values)

    assert raised.value.name == field


def test_changes_replace_fields_and_join_contract_points():
    """Ticking one point of the contract leaves the other thirteen as they were."""
    changed = dossiers.merged(
        WHOLE, {"contract": {"3": "asked"}, "siren": "987 654 321", "suspended_on": "2026-11-20"}
    )

    assert changed.contract[3] is ContractState.ASKED
    assert changed.contract[4] is ContractState.PRESENT
    assert changed.siren == "987654321"
    assert changed.company == WHOLE.company
    assert dossiers.merged(changed, {"suspended_on": ""}).suspended_on is None


def test_an_account_that_was_switched_off_is_seen_by_the_verdict():
    """The designated person who left is named in the remarks (HDS-08)."""
    gone = dossiers.with_account(WHOLE, professional_disabled=True)

    codes = {each.code for each in judge(Nature.CERTIFIED_HOST, gone, date(2026, 11, 23)).remarks}

    assert "hosting.professional-gone" in codes
    assert dossiers.with_account(Dossier(), professional_disabled=True) == Dossier()
