"""The paper of a sealed envelope, one A4 page to print, fold and shut, in French or English: pure.

No script, no address of anything but the box: the page is whole by itself. The code is on it and nowhere else.
"""

from dataclasses import dataclass
from html import escape
from typing import Final

from appliance.language import Language, mark, translate

STYLE: Final = """
@page { size: A4; margin: 16mm 18mm; }
* { box-sizing: border-box; }
html { font: 11pt/1.45 "Liberation Sans", "DejaVu Sans", Arial, sans-serif; color: #000; background: #fff; }
body { margin: 0 auto; max-width: 174mm; padding: 6mm 4mm; }
h1 { font-size: 19pt; line-height: 1.15; margin: 0; }
h2 { font-size: 12pt; margin: 6mm 0 1.5mm; }
p { margin: 0 0 2mm; }
header { border-bottom: 1.2mm solid #000; padding-bottom: 3mm; margin-bottom: 5mm; }
dl { display: grid; grid-template-columns: minmax(38mm, auto) 1fr; gap: 1.5mm 6mm; margin: 0 0 4mm; }
dt { color: #444; }
dd { margin: 0; font-weight: bold; overflow-wrap: anywhere; }
.code { border: .5mm solid #000; border-radius: 2mm; padding: 5mm; }
.code dl { margin: 0; align-items: baseline; }
.code dd { font: bold 15pt/1.4 "Liberation Mono", "DejaVu Sans Mono", monospace; }
ol, ul { margin: 0; padding-left: 6mm; }
table { border-collapse: collapse; width: 100%; margin-top: 2mm; }
th, td { border: .2mm solid #777; height: 9mm; padding: 0 2mm; text-align: left; font-weight: normal; color: #444; font-size: 9pt; }
footer { margin-top: 6mm; font-size: 9pt; color: #333; }
.screen { padding: 3mm 4mm; margin-bottom: 5mm; background: #eef1ee; border-radius: 2mm; }
.screen p { margin: 0; }
@media print { .screen { display: none; } body { padding: 0; } }
@media screen and (max-width: 150mm) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 2mm; } .code dd { font-size: 13pt; } table { font-size: 8pt; } }
"""


@dataclass(frozen=True, slots=True)
class EnvelopeSheet:
    """What is on the paper."""

    number: int
    practice: str  # "" leaves a line to write it on
    place: str
    made_on: str  # in words of its language
    address: str  # of the box, as a browser at the practice opens it
    login: str
    code: str


_USE: Final = (
    mark(
        "Only when nobody who runs the box can sign in any more: ill, gone, or phone and password lost."
    ),
    mark(
        "At the practice, not from outside: open the address above and sign in with login and code."
    ),
    mark(
        "«People of the practice»: make a one-time link for the person who has to come in; «Phone lost» if need be."
    ),
    mark("Sign out. Whatever else is to be done, this person does in their own name."),
)
_KNOW: Final = (
    mark("The code is good once, for one hour. It shows no document."),
    mark(
        "The moment it is used, everybody responsible for the box is told, and the journal keeps it."
    ),
    mark("Afterwards an owner seals a new envelope; this paper is worth nothing any more."),
)


def sheet_html(sheet: EnvelopeSheet, *, language: Language, back: str = "") -> bytes:
    """Return the page, UTF-8.

    Args:
        sheet: what is on it.
        language: of every word.
        back: where the page leads on a screen; "" for a file.
    """

    def say(text: str, **facts: object) -> str:
        return escape(translate(text, language, **facts))

    title = say(mark("Sealed envelope %(number)s"), number=sheet.number)
    facts = [
        (say(mark("Practice")), escape(sheet.practice) or "…………………………"),
        (say(mark("Kept in")), escape(sheet.place)),
        (say(mark("Sealed on")), escape(sheet.made_on)),
    ]
    secret = [
        (say(mark("Address")), escape(sheet.address)),
        (say(mark("Login")), escape(sheet.login)),
        (say(mark("Code, good once")), escape(sheet.code)),
    ]
    onward = f' <a href="{escape(back)}">{say(mark("Go back to the box"))}</a>' if back else ""
    heads = (mark("Found shut on"), mark("by"), mark("Opened on"), mark("by, and why"))
    return "\n".join(
        [
            f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta name="robots" content="noindex">\n<title>{title}</title>',
            f"<style>{STYLE}</style>\n</head>\n<body>",
            f'<div class="screen"><p>{say(mark("Print this page now (Ctrl+P): the code is shown this once. Then close it."))}{onward}</p></div>',
            f"<main>\n<header><h1>{title}</h1>",
            f"<p>{say(mark('The emergency account of the practice’s box: nobody’s from day to day.'))}</p></header>",
            *_list(facts),
            '<section class="code">',
            *_list(secret),
            "</section>",
            f"<h2>{say(mark('How it is used'))}</h2>\n<ol>",
            *(f"<li>{say(each)}</li>" for each in _USE),
            f"</ol>\n<h2>{say(mark('What to know'))}</h2>\n<ul>",
            *(f"<li>{say(each)}</li>" for each in _KNOW),
            "</ul>",
            f"<h2>{say(mark('Kept with it'))}</h2>",
            f"<p>{say(mark('Fold the paper, put it into an opaque envelope, sign across the flap. Once a year somebody sees that it is there and shut.'))}</p>",
            f"<table><tr>{''.join(f'<th>{say(each)}</th>' for each in heads)}</tr>",
            *("<tr><td></td><td></td><td></td><td></td></tr>" for _ in range(3)),
            "</table>",
            "</main>\n</body>\n</html>\n",
        ]
    ).encode()


def _list(pairs: list[tuple[str, str]]) -> list[str]:
    return ["<dl>", *(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in pairs), "</dl>"]
