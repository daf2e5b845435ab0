"""Templates in one language: a text that is always the same is translated when the template is compiled.

A page says some hundred fixed texts. Looking each up again with every answer, and escaping it, was most of what a
page cost (docs/decisions/0191); so there is one set of compiled templates for each language, made as pages are asked
for, where ``_("Send")`` is «Envoyer» already and ``static("app.css")`` its address.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from jinja2 import Environment
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

from appliance.language import Language, translate

#: «_», «static»: what is called with texts that stand in the template.
_Calls = dict[str, Callable[..., str]]
_SPACED: Final = tuple(
    (plain, plain.replace(" ", "\N{NO-BREAK SPACE}"))
    for plain in ("« ", " »", " :", " ;", " ?", " !")
)


def spaced(words: str, language: Language) -> str:
    """Return a French sentence whose quotes and double signs never begin or end a line alone."""
    if language == "fr":
        for plain, kept in _SPACED:
            words = words.replace(plain, kept)
    return words


class Spoken(Extension):
    """Puts what ``_("…")`` and ``static("…")`` return into the template, where all they are given is fixed."""

    def __init__(self, environment: Environment) -> None:
        """Fold nothing until ``fold`` says what."""
        super().__init__(environment)
        self.calls: _Calls = {}

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        """Return the tokens of a template, folded."""
        return _folded(stream, self.calls)


def fold(
    environment: Environment, language: Language, address: Callable[[str], str]
) -> Environment:
    """Let the templates of ``environment`` speak ``language``, and know the addresses of static files."""
    environment.add_extension(Spoken)
    spoken = environment.extensions[Spoken.identifier]
    assert isinstance(spoken, Spoken)  # noqa: S101 - added above
    spoken.calls = {
        "_": lambda words, /, **facts: spaced(translate(words, language, **facts), language),
        "static": address,
    }
    return environment


def _folded(stream: Iterable[Token], calls: _Calls) -> Iterator[Token]:
    tokens = list(stream)
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if (
            token.type == "name"
            and token.value in calls
            and not (at and tokens[at - 1].type == "dot")
        ):
            found = _arguments(tokens, at + 1)
            if found is not None:
                words, facts, after = found
                yield Token(token.lineno, "string", calls[token.value](words, **facts))
                at = after
                continue
        yield token
        at += 1


_CALL: Final = ("lparen", "string")
_FACT: Final = ("comma", "name", "assign", "string")


def _arguments(tokens: list[Token], at: int) -> tuple[str, dict[str, str], int] | None:
    """Return the fixed arguments of the call that begins at ``at``, and where it has ended; None: not all are."""
    if tuple(each.type for each in tokens[at : at + 2]) != _CALL:
        return None
    words: str = tokens[at + 1].value
    facts: dict[str, str] = {}
    at += 2
    while tuple(each.type for each in tokens[at : at + 4]) == _FACT:
        name = tokens[at + 1].value
        if name == "reason":  # a text to be translated itself: ``Words.text`` does it
            return None
        facts[name] = tokens[at + 3].value
        at += 4
    if at < len(tokens) and tokens[at].type == "rparen":
        return words, facts, at + 1
    return None
