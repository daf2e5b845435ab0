"""What the demonstration's documents are made of: invented names and ordinary medical French.

No list holds a person. A name is a surname and a first name drawn apart; telephone numbers are of
the ranges kept for fiction (ARCEP, décision 2018-0881 annexe 1); a social security number has a
key no real one can have («00»: keys are 97 minus a remainder below 97, so 01 to 97).
"""

import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GENERATED: Final = (
    "Document généré pour la démonstration : patient, médecin et contenu sont imaginaires."
)
PRACTICE: Final = "Cabinet médical du Moulin Bleu"
TOWN: Final = "99120 Saint-Essai-sur-Loire"
DOCTORS: Final = ("Dr Hélène GÉRAULT", "Dr Noël LEFÈVRE-ANTHO", "Dr Maëlys OUBAÏD")

#: The last ordinary day of the practice before the demonstration starts.
LAST_DAY: Final = date(2026, 11, 20)

SURNAMES: Final = _names(
    "DUPONT MARTIN LEFÈVRE GÉRARD BÉRANGER LEMAÎTRE FRANÇOIS NOËL CHÂTELAIN MÜLLER GARÇON "
    "BESANÇON PÉRICHON ANDRÉ RENÉ CÔTÉ HUË BOËLLE AÏSSAOUI NGUYEN DA-SILVA BENÂTIA TRAORÉ "
    "KOWALSKI LE-GOFF D'ARTIGNY DE-LA-TOUR PRÉVOST GAUTHIER MOREAU ROUSSEL FAURE BLANCHET "
    "PERRIN MARCHAND DUVAL BARBIER ARNAUD BRETON COLLET VIDAL LACROIX RIVIÈRE FLEURY HUBERT "
    "CARLIER POIRIER MÉNARD LÉVÊQUE GUÉRIN ROCHER OLIVIER"
)
WOMEN: Final = _names(
    "Éloïse Zoé Anaïs Chloé Hélène Inès Léa Noémie Gisèle Thérèse Françoise Maëlle Océane "
    "Solène Agnès Cécile Béatrice Joséphine Amélie Salomé Fatoumata Yasmîna Mégane "
    "Geneviève"
)
MEN: Final = _names(
    "Jérôme Loïc Maël François Étienne Rémi Joël Gaël Stéphane Hervé Raphaël André Théo Noé "
    "Frédéric Aurélien Mickaël Sébastien Jean-Noël Ousmane Karim Benoît Cédric Clément"
)
STREETS: Final = (
    "rue du Puits-Sec",
    "allée des Érables",
    "impasse de la Forêt",
    "chemin du Gué",
    "place de l'Hôtel-Dieu",
    "avenue du Général-Néant",
)
SPECIALISTS: Final = (
    "cardiologue",
    "pneumologue",
    "rhumatologue",
    "dermatologue",
    "gastro-entérologue",
    "endocrinologue",
    "néphrologue",
    "ORL",
    "gynécologue",
    "neurologue",
)
REASONS: Final = (
    "une dyspnée d'effort d'apparition progressive",
    "une hypertension artérielle mal équilibrée",
    "des lombalgies chroniques invalidantes",
    "une toux persistante depuis six semaines",
    "un diabète de type 2 en déséquilibre",
    "des céphalées récurrentes",
    "une asthénie inexpliquée",
    "un bilan de palpitations",
    "une éruption cutanée prurigineuse",
    "des douleurs épigastriques postprandiales",
    "une surveillance de fibrillation atriale",
    "un suivi d'hypothyroïdie substituée",
)
HISTORY: Final = (
    "appendicectomie en 1989",
    "hypertension artérielle traitée",
    "allergie à l'amoxicilline",
    "tabagisme sevré depuis 2014",
    "fracture du poignet gauche",
    "dyslipidémie sous statine",
    "asthme de l'enfance",
    "thyroïdectomie partielle",
    "antécédent familial d'infarctus avant 55 ans",
    "aucun antécédent notable",
)
EXAMINATION: Final = (
    "L'auscultation cardiaque est régulière, sans souffle.",
    "L'auscultation pulmonaire retrouve quelques sibilants des deux bases.",
    "L'abdomen est souple, dépressible, indolore.",
    "La mobilité du rachis lombaire est limitée en antéflexion.",
    "Les pouls périphériques sont perçus et symétriques.",
    "Il n'y a pas d'œdème des membres inférieurs.",
    "L'examen neurologique est sans particularité.",
    "La palpation de la thyroïde ne retrouve pas de nodule.",
    "Les tympans sont normaux, la gorge est érythémateuse.",
    "Le fond d'œil n'a pas été réalisé.",
)
CONCLUSIONS: Final = (
    "Je vous remercie de votre avis et vous adresse ci-joint le dernier bilan biologique.",
    "Je propose de poursuivre le traitement actuel et de revoir le patient dans trois mois.",
    "Un complément d'imagerie a été prescrit ce jour.",
    "La surveillance tensionnelle à domicile est poursuivie selon la règle des trois.",
    "Un contrôle biologique est prévu dans six semaines.",
    "L'évolution est favorable, le suivi habituel est repris.",
    "Les règles hygiéno-diététiques ont été rappelées.",
    "Merci de bien vouloir le recevoir pour avis et prise en charge.",
)
DRUGS: Final = (
    "paracétamol 1 g, 1 comprimé en cas de douleur, sans dépasser 3 par jour",
    "ramipril 5 mg, 1 comprimé le matin",
    "metformine 850 mg, 1 comprimé matin et soir au cours du repas",
    "lévothyroxine 75 µg, 1 comprimé le matin à jeun",
    "atorvastatine 20 mg, 1 comprimé le soir",
    "bisoprolol 2,5 mg, 1 comprimé le matin",
    "apixaban 5 mg, 1 comprimé matin et soir",
    "salbutamol 100 µg, 2 bouffées si gêne respiratoire",
    "oméprazole 20 mg, 1 gélule avant le dîner pendant 4 semaines",
    "cétirizine 10 mg, 1 comprimé le soir",
    "colécalciférol 100 000 UI, 1 ampoule par trimestre",
)
#: Name, LOINC code, unit, usual lowest and highest, what a draw spans.
TESTS: Final = (
    ("Hémoglobine", "718-7", "g/dL", 12.0, 16.0, 10.5, 17.0),
    ("Leucocytes", "6690-2", "G/L", 4.0, 10.0, 3.0, 13.0),
    ("Plaquettes", "777-3", "G/L", 150.0, 400.0, 120.0, 450.0),
    ("Glycémie à jeun", "14749-6", "mmol/L", 3.9, 6.1, 3.8, 9.5),
    ("Créatinine", "14682-9", "µmol/L", 45.0, 104.0, 40.0, 140.0),
    ("Cholestérol LDL", "39469-2", "mmol/L", 0.0, 4.1, 1.5, 5.5),
    ("TSH", "3016-3", "mUI/L", 0.4, 4.0, 0.1, 7.0),
    ("HbA1c", "4548-4", "%", 4.0, 6.0, 5.0, 9.2),
    ("Protéine C réactive", "1988-5", "mg/L", 0.0, 5.0, 0.3, 48.0),
)


@dataclass(frozen=True, slots=True)
class Patient:
    """An invented patient."""

    number: int
    surname: str
    first_name: str
    woman: bool
    born: date
    address: str
    phone: str
    nir: str

    @property
    def title(self) -> str:
        """«Mme» or «M.»."""
        return "Mme" if self.woman else "M."

    @property
    def name(self) -> str:
        """«DUPONT Éloïse»."""
        return f"{self.surname} {self.first_name}"

    @property
    def folder(self) -> str:
        """«Patients/D/DUPONT Éloïse 1957-03-12»."""
        return f"Patients/{self.surname[0]}/{self.name} {self.born.isoformat()}"


def invent_patient(rng: random.Random, number: int) -> Patient:
    """Return patient ``number`` (0 or more); two different numbers never share name and birth date."""
    woman = rng.random() < 0.55
    surname = SURNAMES[number % len(SURNAMES)]
    first_name = rng.choice(WOMEN if woman else MEN)
    # Birth dates step with the number, so a folder's name is one patient's alone.
    born = date(1928, 1, 1) + timedelta(days=(number * 10_007 + 4_001) % 29_000)
    return Patient(
        number=number,
        surname=surname,
        first_name=first_name,
        woman=woman,
        born=born,
        address=f"{rng.randint(1, 98)} {rng.choice(STREETS)}, {TOWN}",
        phone=f"06 39 98 {rng.randint(0, 99):02} {rng.randint(0, 99):02}",
        nir=f"{2 if woman else 1} {born:%y %m} 99 {rng.randint(1, 999):03} {number % 1000:03} 00",
    )


def day_before(rng: random.Random, last: date = LAST_DAY, years: float = 4.0) -> date:
    """A working day within ``years`` before ``last``; recent ones are likelier."""
    day = last - timedelta(days=int(years * 365 * rng.random() ** 2))
    return day - timedelta(days=max(0, day.weekday() - 4))


def french(day: date) -> str:
    """«20/11/2026»."""
    return f"{day:%d/%m/%Y}"


def letter_lines(rng: random.Random, patient: Patient, day: date) -> list[str]:
    """The body of a letter to a colleague, unwrapped paragraphs."""
    age = day.year - patient.born.year
    adjective = "âgée" if patient.woman else "âgé"
    return [
        "Cher confrère, chère consœur,",
        f"Je vous adresse {patient.title} {patient.name}, {adjective} de {age} ans, pour "
        + rng.choice(REASONS)
        + ".",
        "Dans ses antécédents, on retrouve : " + ", ".join(rng.sample(HISTORY, 3)) + ".",
        f"À l'examen, la tension artérielle est à {rng.randint(105, 175)}/{rng.randint(60, 100)} mmHg, "
        f"la fréquence cardiaque à {rng.randint(54, 104)}/min, le poids à {rng.randint(48, 118)} kg. "
        + " ".join(rng.sample(EXAMINATION, 4)),
        "Son traitement comprend : " + " ; ".join(rng.sample(DRUGS, rng.randint(2, 4))) + ".",
        " ".join(rng.sample(CONCLUSIONS, 3)),
        "Bien confraternellement,",
    ]


def prescription_lines(rng: random.Random) -> list[str]:
    """The lines of a prescription."""
    drugs = rng.sample(DRUGS, rng.randint(2, 5))
    return [
        "Ordonnance",
        *(f"{n}. {drug}" for n, drug in enumerate(drugs, 1)),
        f"Traitement pour {rng.choice((1, 3, 6))} mois.",
    ]


def results(rng: random.Random) -> list[tuple[str, str, str, float, float, float]]:
    """A few laboratory results: name, code, unit, usual lowest and highest, value."""
    return [
        (name, code, unit, low, high, round(rng.uniform(least, most), 1))
        for name, code, unit, low, high, least, most in rng.sample(TESTS, rng.randint(4, 8))
    ]


def result_lines(found: list[tuple[str, str, str, float, float, float]]) -> list[str]:
    """Laboratory results as lines of a report."""
    return [
        f"{name} : {value} {unit}   (usuelles {low} à {high})"
        + ("  *" if not low <= value <= high else "")
        for name, _code, unit, low, high, value in found
    ]


def note_line(rng: random.Random, day: date) -> str:
    """One consultation in a note file."""
    return (
        f"{french(day)} - Consultation pour {rng.choice(REASONS)}. {rng.choice(EXAMINATION)} "
        f"{rng.choice(CONCLUSIONS)}"
    )
