"""A recovery sheet as one HTML page of A4, in French or English: words, code to scan, what to do with it.

Made by the worker side only. No script, no address of anything: the page is whole by itself, and the words
are the only secret on it.
"""

import io
from datetime import datetime
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

import segno

from appliance.language import Language, mark, translate
from appliance.replication.kit import Sheet

COLUMNS: Final = 4
STYLE: Final = """
@page { size: A4; margin: 14mm 16mm; }
* { box-sizing: border-box; }
html { font: 10.5pt/1.4 "Liberation Sans", "DejaVu Sans", Arial, sans-serif; color: #000; background: #fff; }
body { margin: 0 auto; max-width: 178mm; }
header { display: flex; justify-content: space-between; align-items: flex-end; gap: 8mm; border-bottom: 1.2mm solid #000; padding-bottom: 3mm; }
h1 { font-size: 19pt; line-height: 1.15; margin: 0; }
header p { margin-top: 1mm; }
.number { text-align: right; white-space: nowrap; }
.number b { display: block; font-size: 19pt; line-height: 1.1; letter-spacing: .08em; }
.facts { display: grid; grid-template-columns: auto 1fr auto 1fr; gap: 1mm 4mm; margin: 3.5mm 0; }
.facts dt { color: #444; }
.facts dd { margin: 0; font-weight: bold; }
.secret { display: flex; gap: 6mm; align-items: stretch; border: .5mm solid #000; border-radius: 2mm; padding: 4mm; }
.secret ol { flex: 1; display: grid; grid-auto-flow: column; grid-template-rows: repeat(5, auto); gap: 2.2mm 4mm; margin: 0; padding: 0; list-style: none; align-content: space-between; }
.secret li { display: flex; gap: 1.5mm; align-items: baseline; font: bold 12.5pt/1.25 "Liberation Mono", "DejaVu Sans Mono", monospace; white-space: nowrap; }
.secret li span { font: 8.5pt/1 "Liberation Sans", "DejaVu Sans", Arial, sans-serif; color: #444; min-width: 4.5mm; text-align: right; }
.code { width: 36mm; text-align: center; font-size: 8pt; line-height: 1.25; }
.code svg { width: 36mm; height: 36mm; display: block; margin-bottom: 1.5mm; }
h2 { font-size: 11.5pt; margin: 4.5mm 0 1mm; }
p { margin: 0; }
ul, ol.steps { margin: 0; padding-left: 5.5mm; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 0 8mm; }
code { font-family: "Liberation Mono", "DejaVu Sans Mono", monospace; font-size: 9.5pt; }
.hand { display: grid; grid-template-columns: 1fr 1fr; gap: 0 8mm; margin-top: 4mm; }
.hand p { padding-top: 9mm; border-bottom: .2mm solid #444; color: #444; font-size: 9pt; }
.years { margin-top: 6mm; border-collapse: collapse; width: 100%; }
.years td, .years th { border: .2mm solid #777; height: 8mm; text-align: left; font-weight: normal; color: #444; font-size: 9pt; padding: 0 2mm; width: 25%; }
footer { margin-top: 5mm; font-size: 8.5pt; color: #333; }
.screen { margin: 5mm 0; padding: 3mm 4mm; background: #eef1ee; border-radius: 2mm; }
@media print { .screen { display: none; } }
@media screen { body { padding: 8mm 4mm; } }
@media screen and (max-width: 150mm) { .secret, header { flex-direction: column; align-items: stretch; } .secret ol { grid-template-rows: repeat(10, auto); } .two, .hand { grid-template-columns: 1fr; } .facts { grid-template-columns: auto 1fr; } .number { text-align: left; } .code { margin: 0 auto; } }
"""

_KEEP: Final = (
    mark(
        "Keep it as you keep a will: in a safe or a sealed envelope, not in the building of the box."
    ),
    mark(
        "Do not photograph, scan, copy or e-mail it, and type its words into nothing but an Armoire."
    ),
    mark(
        "The practice asks for it once a year, to see that it can still be read, and gives it back."
    ),
    mark(
        "Lost, opened by others, or no longer yours to keep: tell the practice at once; it makes a new kit."
    ),
)
_STEPS: Final = (
    mark("Bring it to the practice, with the USB stick that holds the kit file «armoire.kit»."),
    mark("On a new machine with Armoire installed: <code>armoire recover --kit armoire.kit</code>"),
    mark("Type the words in their order, or scan the code: capitals and spaces do not matter."),
)


def sheet_html(
    sheet: Sheet, *, practice: str, made_at: datetime, zone: ZoneInfo, language: Language
) -> bytes:
    """Return the page of one sheet, UTF-8.

    Args:
        sheet: of ``kit.split``.
        practice: its name; "" leaves a line to write it on.
        made_at: when it is printed, aware UTC.
        zone: of the practice.
        language: of everything but the words, which are the English ones of SLIP-39.
    """

    def say(text: str, **facts: object) -> str:
        return translate(
            text, language, **{name: escape(str(value)) for name, value in facts.items()}
        )

    day = made_at.astimezone(zone)
    shown = f"{day:%d/%m/%Y}" if language == "fr" else f"{day.day} {day:%B %Y}"
    needed = (
        say(mark("This sheet alone opens the copies."))
        if sheet.needed == 1
        else say(
            mark(
                "Any %(needed)s of the %(sheets)s sheets open the copies; one alone opens nothing."
            ),
            needed=sheet.needed,
            sheets=sheet.sheets,
        )
    )
    title = say(mark("Recovery kit"))
    which = say(mark("Sheet %(number)s of %(sheets)s"), number=sheet.number, sheets=sheet.sheets)
    facts = [
        (say(mark("Practice")), escape(practice) or "…………………………"),
        (say(mark("Kept by")), escape(sheet.holder)),
        (say(mark("Printed on")), shown),
        (
            say(mark("Needed")),
            say(mark("%(needed)s of %(sheets)s"), needed=sheet.needed, sheets=sheet.sheets),
        ),
    ]
    parts = [
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="robots" content="noindex">\n<title>{title} {sheet.kit_number} – {which}</title>',
        f"<style>{STYLE}</style>\n</head>\n<body>",
        f'<p class="screen">{say(mark("Print this page now (Ctrl+P), then close it. Nothing of it stays in the browser."))}</p>',
        f"<header><div><h1>{title}</h1><p>{which} · {needed}</p></div>",
        f'<p class="number">{say(mark("Kit number"))}<b>{escape(sheet.kit_number)}</b></p></header>',
        '<dl class="facts">',
        *(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts),
        '</dl>\n<section class="secret"><ol>',
        *(
            f"<li><span>{place}</span>{escape(word)}</li>"
            for place, word in enumerate(sheet.words, start=1)
        ),
        f'</ol><div class="code">{code_svg(sheet)}{say(mark("The same words, to scan. English words, no accents."))}</div></section>',
        f'<div class="two"><section><h2>{say(mark("What this sheet is"))}</h2>',
        f"<p>{say(_WHAT_ONE if sheet.needed == 1 else _WHAT_SOME)}</p>",
        f'<h2>{say(mark("After a fire or a theft"))}</h2><ol class="steps">',
        *(f"<li>{say(each)}</li>" for each in _STEPS),
        f"</ol></section><section><h2>{say(mark('How to keep it'))}</h2><ul>",
        *(f"<li>{say(each)}</li>" for each in _KEEP),
        "</ul></section></div>",
        f'<div class="hand"><p>{say(mark("Handed over on"))}</p><p>{say(mark("Signature of the holder"))}</p></div>',
        (
            f'<table class="years"><tr><th>{say(mark("Words read again on"))}</th><th>{say(mark("by"))}</th>'
            f"<th>{say(mark('Words read again on'))}</th><th>{say(mark('by'))}</th></tr>"
        ),
        *("<tr><td></td><td></td><td></td><td></td></tr>" for _ in range(3)),
        "</table>",
        f"<footer>{say(_THIRTY_YEARS)}</footer>\n</body>\n</html>\n",
    ]
    return "\n".join(parts).encode()


_WHAT_ONE: Final = mark(
    "The practice keeps sealed copies of its records outside its walls. These twenty words open them. "
    "Whoever holds this sheet and reaches a copy reads everything: it is covered by professional secrecy."
)
_WHAT_SOME: Final = mark(
    "The practice keeps sealed copies of its records outside its walls. The words of two sheets together "
    "open them. Two sheets never lie in one place: each holder keeps their own."
)
_THIRTY_YEARS: Final = mark(
    "Without Armoire: the words are a SLIP-39 share (no passphrase); what they give is turned into an age "
    "identity as docs/formats/kit.md of the program says (HKDF-SHA-256, «armoire recovery identity v1»)."
)


def code_svg(sheet: Sheet) -> str:
    """Return the QR code of the words as SVG; capitals, for they need fewer squares and read the same."""
    out = io.BytesIO()
    code_of(sheet).save(
        out, kind="svg", xmldecl=False, svgns=True, nl=False, omitsize=True, border=2, svgclass=None
    )
    return out.getvalue().decode("ascii")


def code_of(sheet: Sheet) -> segno.QRCode:
    """Return the QR code of a sheet's words, parted by spaces, error level M or better."""
    return segno.make(" ".join(sheet.words).upper(), error="m", micro=False)
