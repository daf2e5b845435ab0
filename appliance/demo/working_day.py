"""A normal working day in a demonstration tree: most of it stays, a little is added or changed."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from appliance.demo import images, papers, words

#: One in so many files; at least the second figure.
ADDED: Final = (120, 4)
CHANGED: Final = (200, 3)
RENAMED: Final = (900, 2)
REMOVED: Final = (900, 1)

EDITABLE: Final = frozenset({".txt", ".docx", ".xlsx"})
#: Folders nobody works in by hand.
LEFT_ALONE: Final = frozenset({"AppData", "Imagerie"})


@dataclass(frozen=True, slots=True)
class DayOfWork:
    """How many files a day touched. A renamed file keeps its bytes and its time."""

    added: int
    changed: int
    renamed: int
    removed: int


def change_a_day(root: Path, *, seed: int) -> DayOfWork:
    """Do one day's work in a tree made by ``fill_practice``, ``fill_secretary`` or ``fill_share``.

    What is written has the present moment as its time; which files and what is in them depends on
    ``seed`` (1 for the first day, 2 for the second…) and on the tree alone.
    """
    rng = random.Random(f"day {seed}")  # noqa: S311 - invented work, not secrets
    day = words.LAST_DAY + timedelta(days=seed % 3_650)
    files = _files(root)
    if not files:
        return DayOfWork(0, 0, 0, 0)
    edited = rng.sample(
        editable := [each for each in files if each.suffix in EDITABLE],
        min(len(editable), _share_of(files, CHANGED)),
    )
    rest = sorted({each for each in files if each.suffix in {".jpg", ".pdf"}}.difference(edited))
    gone = rng.sample(rest, min(len(rest), _share_of(files, RENAMED) + _share_of(files, REMOVED)))
    removed, renamed = gone[: _share_of(files, REMOVED)], gone[_share_of(files, REMOVED) :]
    for path in edited:
        _edit(rng, path, day)
    for path in removed:
        path.unlink()
    for number, path in enumerate(renamed):
        path.rename(path.with_name(f"{path.stem} (classé {day} {number}){path.suffix}"))
    folders = sorted({each.parent for each in files})
    added = _share_of(files, ADDED)
    for number in range(added):
        _add(rng, root, rng.choice(folders), day, f"J{seed:04}-{number:03}")
    return DayOfWork(added, len(edited), len(renamed), len(removed))


def _share_of(files: Sequence[Path], part: tuple[int, int]) -> int:
    return max(part[1], len(files) // part[0])


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(each for each in folders if each not in LEFT_ALONE)
        found += [Path(folder, name) for name in names if not name.startswith("~$")]
    return sorted(found)


def _edit(rng: random.Random, path: Path, day: date) -> None:
    if path.suffix == ".txt":
        with path.open("ab") as file:
            file.write((words.note_line(rng, day) + "\r\n").encode("utf-8"))
    elif path.suffix == ".docx":
        path.write_bytes(
            papers.docx_letter(
                name="……………………",
                born="…/…/……",
                doctor=rng.choice(words.DOCTORS),
                day=day,
                lines=[path.stem, *rng.sample(words.CONCLUSIONS, 4)],
                reference=f"R{rng.randrange(10**6):06}",
            )
        )
    else:
        rows = [
            [f"{hour} h", rng.choice(words.DOCTORS), float(rng.randint(1, 30))]
            for hour in range(8, 19)
        ]
        path.write_bytes(
            papers.xlsx_sheet("Modifié", [[words.french(day)], *rows, [words.GENERATED]])
        )


def _add(rng: random.Random, root: Path, folder: Path, day: date, reference: str) -> None:
    patient = words.invent_patient(rng, rng.randrange(200))
    if "Patients" in folder.relative_to(root).parts:
        content = papers.pdf_letter(
            patient=None,  # the folder says whose it is
            doctor=rng.choice(words.DOCTORS),
            day=day,
            title="Note de consultation",
            lines=[words.note_line(rng, day) for _ in range(4)],
            reference=reference,
        )
        name = f"{day} Note de consultation {reference}.pdf"
    else:
        content = images.scan(rng, patient, day, reference)
        name = f"Scan_{day:%Y%m%d}_{reference}.jpg"
    (folder / name).write_bytes(content)
