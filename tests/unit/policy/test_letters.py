"""The two papers for a host: what they say comes from the dossier, and nothing is invented."""

from dataclasses import replace
from datetime import date
from html.parser import HTMLParser

import pytest

from appliance.commands.hosts import render
from appliance.policy import letters
from appliance.policy.hosting import ContractState, Dossier, Professional, Site, Subcontractor

TODAY = date(2026, 11, 23)
WHOLE = Dossier(
    company="Hébergement <Est> & Cie",
    siren="123456789",
    incident_contact="astreinte, 03 00 00 00 00",
    certificate_number="HDS-2026-0042",
    certification_body="LSTI",
    expires_on=date(2029, 1, 9),
    sites=(Site("Metz", "FR"),),
    subcontractors=(Subcontractor("Salle Est", "baies", True),),
    contract_reference="C-77",
    contract_signed_on=date(2026, 3, 1),
    products=("stockage verrouillé",),
    contract={12: ContractState.PRESENT, 13: ContractState.ASKED},
    contact="Dr Claire Morel",
    professional=Professional("Dr Claire Morel", "10001234567", date(2026, 2, 1)),
    deputy=Professional("Dr Hugo Petit", "10007654321", date(2026, 2, 1)),
)


def sheet(dossier=WHOLE, **values):
    given = {
        "practice": "Cabinet des Lilas",
        "target": "Hébergeur Est",
        "kind": "sftp",
        "where": "cabinet@sftp.example",
        "generations": 12,
        "newest_on": date(2026, 11, 23),
        "objects": 4000,
        "size": "1,2 To",
        "last_drill_on": None,
        "today": TODAY,
        **values,
    }
    return letters.reversibility(dossier, **given)


class Texts(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found = []
        self.tags = []
        self.feed(html)
        self.text = " ".join(" ".join(self.found).split())

    def handle_data(self, data):
        self.found.append(data)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_practices_address_stands_on_the_letter():
    """Its lines take the place of the dotted ones."""
    without = render("designation", letter=letters.designation(WHOLE, practice="C", today=TODAY))
    letter = letters.designation(
        WHOLE, practice="C", postal="1, rue <Haute>\n75001 Paris", today=TODAY
    )
    page = render("designation", letter=letter)

    assert "<strong>C</strong><br>1, rue &lt;Haute&gt;<br>75001 Paris</address>" in page
    assert page.count("blank") < without.count("blank")


def test_the_designation_letter_names_person_number_and_contract():
    """HDS row 4: name, RPPS and contract reference stand in the letter."""
    text = Texts(
        render("designation", letter=letters.designation(WHOLE, practice="Cabinet", today=TODAY))
    ).text

    for said in ("Dr Claire Morel", "10 001 234 567", "Dr Hugo Petit", "C-77", "1er mars 2026",
                 "23 novembre 2026", "Hébergement <Est> & Cie", "exigence 11"):  # fmt: skip
        assert said in text
    assert "pointillés" not in text
    assert "agréé" not in text


def test_what_is_not_known_is_a_dotted_line_and_said_on_the_screen():
    """A letter a doctor signs says nothing that nobody entered."""
    letter = letters.designation(Dossier(), practice="", today=TODAY)
    page = Texts(render("designation", letter=letter))

    assert "professional" in letter.missing
    assert sum(1 for tag, attrs in page.tags if "blank" in attrs.get("class", "")) > 8
    assert "pointillés" in page.text
    assert "None" not in page.text


def test_the_reversibility_sheet_says_how_everything_comes_back():
    """Contract points 10, 12, 13 and 14 with their state, the format, the steps, the last exercise."""
    page = Texts(render("reversibility", sheet=sheet()))

    for said in ("12 générations", "4000 objets", "1,2 To", "armoire recover", "offsite.md",
                 "Metz (FR)", "Salle Est — baies", "absent du contrat", "demandé à l’hébergeur",
                 "présent au contrat", "aucun à ce jour", "HDS-2026-0042"):  # fmt: skip
        assert said in page.text
    assert [line.number for line in sheet().contract] == [10, 12, 13, 14]
    assert (
        "3 juin 2026"
        in Texts(render("reversibility", sheet=sheet(last_drill_on=date(2026, 6, 3)))).text
    )


def test_a_sheet_of_an_empty_dossier_can_be_printed():
    """Nothing there yet: lines to fill in, no failure."""
    page = Texts(
        render("reversibility", sheet=sheet(Dossier(), generations=0, newest_on=None, objects=0))
    )

    assert "rien encore" in page.text
    assert "None" not in page.text


@pytest.mark.parametrize(
    ("day", "text"),
    [(date(2026, 8, 1), "1er août 2026"), (date(2028, 2, 29), "29 février 2028"), (None, "")],
)
def test_days_are_written_as_in_french_letters(day, text):
    """The first of a month is «1er»."""
    assert letters.french_date(day) == text


def test_the_renewal_of_a_leap_day_is_never_late():
    """A year after 29 February is 28 February."""
    leap = letters.designation(WHOLE, practice="", today=date(2028, 2, 29))

    assert leap.renew_by == "28 février 2029"


def test_an_odd_number_is_shown_as_it_is():
    """A malformed RPPS number is not made pretty: a person must see it."""
    odd = replace(WHOLE, professional=Professional("Dr X", "123", TODAY), siren="12")
    letter = letters.designation(odd, practice="", today=TODAY)

    assert (letter.professional.rpps, letter.siren) == ("123", "12")


def test_all_fourteen_points_are_listed_for_the_page():
    """The checklist of the dossier's page."""
    lines = letters.checklist({3: ContractState.PRESENT})

    assert [each.number for each in lines] == list(range(1, 15))
    assert [each.is_present for each in lines].count(True) == 1


def test_a_paper_is_one_file_that_needs_nothing_else():
    """Sent by mail, opened anywhere: no link to another file, no script."""
    page = Texts(render("reversibility", sheet=sheet()))

    assert {tag for tag, _ in page.tags} & {"script", "link", "img"} == set()
    assert "style" in {tag for tag, _ in page.tags}
