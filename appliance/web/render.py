"""From a page's values to HTML: Jinja2 with autoescape, an undefined name is an error."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from appliance.clock import utc_now
from appliance.language import Language, mark, translate, translate_count
from appliance.policy.roles import Action
from appliance.policy.wording import duration_words, in_language, percent_words, size_words
from appliance.web.deps import Visitor, find_visitor, language_of, visitor_of
from appliance.web.recovery_watch import Watch
from appliance.web.remembered import FRAMES, PLACE, ROWS, Reader, Rows, Shelf, filled, parted
from appliance.web.spoken import fold, spaced
from appliance.web.standing import Standing, asker
from appliance.web.static_files import StaticFiles

# Written here: a locale library would keep some megabytes in memory for these 38 words.
_DAYS: Final[dict[Language, list[str]]] = {
    "fr": ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
    "en": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
}
_MONTHS: Final[dict[Language, list[str]]] = {
    "fr": [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
    "en": [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
}


_LANGUAGES: Final[tuple[Language, ...]] = ("fr", "en")

JUST_NOW_S: Final = 10
#: What a page that is remembered has for the present: nothing may be told from it.
NO_TIME: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Page:
    """The root of all pages: a frozen dataclass holds everything its template may use."""

    template: ClassVar[str]


@dataclass(frozen=True, slots=True)
class PurePage(Page):
    """A page that is remembered: its HTML depends on its fields, its reader and what stands on top, nothing else.

    Fields are hashable. The template gets no session and no time; ``rows`` stands for the rows, once at most.
    """


@dataclass(frozen=True, slots=True)
class Words:
    """How the reader's language says numbers, sizes and times."""

    language: Language
    zone: ZoneInfo
    now: datetime

    def text(self, words: str, /, **facts: object) -> str:
        """Return a text in the reader's language."""
        return self.spaced(translate(words, self.language, **in_language(facts, self.language)))

    def explain(self, words: str, facts: Mapping[str, object]) -> str:
        """Return a stored text with its facts, those that are words translated too."""
        said = {
            name: translate(value, self.language) if isinstance(value, str) else value
            for name, value in in_language(facts, self.language).items()
        }
        try:
            return self.spaced(translate(words, self.language, **said))
        except (KeyError, TypeError, ValueError):  # a text of another version of the program
            return self.spaced(translate(words, self.language))

    def count(self, one: str, many: str, count: int, /, **facts: object) -> str:
        """Return the form for ``count``, thousands parted."""
        shown = {**in_language(facts, self.language), "count": self.number(count)}
        return self.spaced(translate_count(one, many, count, self.language, **shown))

    def spaced(self, words: str) -> str:
        """Return a French sentence whose quotes and double signs never begin or end a line alone."""
        return spaced(words, self.language)

    def number(self, value: float) -> str:
        """Return «12 345» or «12,345»."""
        text = f"{value:,.0f}"
        return text.replace(",", "\N{NARROW NO-BREAK SPACE}") if self.language == "fr" else text

    def size(self, size_bytes: float) -> str:
        """Return «1,2 Go» or «1.2 GB»."""
        return size_words(size_bytes, self.language).replace(" ", "\N{NO-BREAK SPACE}")

    def percent(self, part: float) -> str:
        """Return «30 %» of 0.3."""
        return percent_words(part, self.language)

    def span(self, span: timedelta) -> str:
        """Return «3 heures»."""
        if span.total_seconds() < 1:
            return translate(mark("less than a second"), self.language)
        return duration_words(span, self.language)

    def ago(self, moment: datetime) -> str:
        """Return «il y a 3 heures»."""
        if abs((self.now - moment).total_seconds()) < JUST_NOW_S:
            return translate(mark("just now"), self.language)
        return translate(
            mark("%(span)s ago"),
            self.language,
            span=duration_words(self.now - moment, self.language),
        )

    def moment(self, moment: datetime) -> str:
        """Return the local day and time: «lundi 23 novembre 2026 à 03:12»."""
        local = moment.astimezone(self.zone)
        return _long_moment(local, self.language)

    def short(self, moment: datetime) -> str:
        """Return the local day and time in figures: «23/11/2026 03:12»."""
        return moment.astimezone(self.zone).strftime("%d/%m/%Y %H:%M")

    def day(self, day: date | datetime) -> str:
        """Return «lundi 23 novembre»."""
        if isinstance(day, datetime):
            day = day.astimezone(self.zone).date()
        return _long_day(day, self.language)

    def clock(self, moment: datetime) -> str:
        """Return the local time: «03:12»."""
        return moment.astimezone(self.zone).strftime("%H:%M")


class TimelessWords(Words):
    """How to speak on a page that is remembered: everything but how long ago something was."""

    __slots__ = ()

    def ago(self, moment: datetime) -> str:
        """Refuse: it would be old a second later."""
        raise ValueError(f"a page that is remembered does not say how long ago {moment} was")


def _long_day(day: date, language: Language) -> str:
    name, month = _DAYS[language][day.weekday()], _MONTHS[language][day.month - 1]
    return f"{name} {day.day} {month}" if language == "fr" else f"{name}, {day.day} {month}"


def _long_moment(moment: datetime, language: Language) -> str:
    at = " à" if language == "fr" else ","
    return f"{_long_day(moment.date(), language)} {moment.year}{at} {moment:%H:%M}"


class Renderer:
    """Holds the compiled templates."""

    def __init__(
        self, static: StaticFiles, zone: Callable[[], ZoneInfo], recovery: Watch | None = None
    ) -> None:
        self._zone = zone
        self._recovery = recovery
        self._frames = Shelf(FRAMES)
        self._rows = Shelf(ROWS)
        self._environments = {
            language: self._environment(language, static) for language in _LANGUAGES
        }

    def _environment(self, language: Language, static: StaticFiles) -> Environment:
        environment = Environment(
            loader=PackageLoader("appliance.web", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.globals["static"] = static.address
        environment.globals["Action"] = Action
        return fold(environment, language, static.address)

    def words(self, request: Request) -> Words:
        """Return how to speak to who is asking."""
        return Words(language_of(request), self._zone(), utc_now())

    def html(self, request: Request, page: Page) -> str:
        """Return the page, or a fragment of one, as HTML."""
        words, standing = self.words(request), asker(request)
        return self._html(page, words, find_visitor(request), request.url.path, standing)

    def filled(self, request: Request, page: PurePage, rows: Rows) -> bytes:
        """Return a page with its rows; each is made anew only when a fact that shows in it is new.

        Raises:
            NotAllowed: nobody is in.
        """
        person = visitor_of(request).person
        language, zone = language_of(request), self._zone()
        path: str = request.scope["path"]
        standing = asker(request)()
        manner = (language, zone.key)
        words: Words = TimelessWords(language, zone, NO_TIME)
        key = (type(page), page, person, path, standing, *manner)
        # A box that is being made again says on each page how far it is.
        frame = self._frames.find(key) if self._recovery is None else None
        if frame is None:
            if self._recovery is not None:
                words = Words(language, zone, utc_now())
            place = {"rows": Markup(PLACE)}  # noqa: S704 - ours
            frame = parted(self._html(page, words, Reader(person), path, lambda: standing, place))
            if self._recovery is None:
                self._frames.keep(key, frame)

        def make(facts: list[Hashable]) -> str:
            template = self._environments[language].get_template(rows.template)
            shown = [rows.make(each, words) for each in facts]
            return template.render({**dict(rows.shared), "rows": shown})

        return filled(self._rows, rows, manner, make).join(frame)

    def _html(
        self,
        page: Page,
        words: Words,
        visitor: Visitor | Reader | None,
        path: str,
        standing: Callable[[], Standing],
        more: Mapping[str, object] = MappingProxyType({}),
    ) -> str:
        context: dict[str, Any] = {
            "_": words.text,
            "_n": words.count,
            "words": words,
            "language": words.language,
            "visitor": visitor,
            "may": visitor.may if visitor is not None else lambda _: False,
            "address": path,
            "standing_now": standing,
            # What goes on while the box is made again from a copy: a banner on each page.
            "recovery": None if self._recovery is None else self._recovery.status(),
            **more,
        }
        for each in fields(page):
            if each.name in context:
                raise ValueError(
                    f"{type(page).__name__}.{each.name} would hide what every page has"
                )
            context[each.name] = getattr(page, each.name)
        environment = self._environments[words.language]
        return environment.get_template(page.template).render(context)


def render(
    request: Request, page: Page, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """Return ``page`` as an answer."""
    renderer: Renderer = request.app.state.renderer
    return _answer(request, renderer.html(request, page), status, headers or {})


def render_filled(request: Request, page: PurePage, rows: Rows, status: int = 200) -> HTMLResponse:
    """Return a page that is remembered, with its rows, as an answer."""
    renderer: Renderer = request.app.state.renderer
    return _answer(request, renderer.filled(request, page, rows), status, {})


def _answer(
    request: Request, html: str | bytes, status: int, headers: Mapping[str, str]
) -> HTMLResponse:
    told = {"content-language": language_of(request), "vary": "cookie, accept-language"}
    return HTMLResponse(html, status, {**told, **headers})


def words_of(request: Request) -> Words:
    """Return how to speak to who is asking."""
    renderer: Renderer = request.app.state.renderer
    return renderer.words(request)


def is_fragment(request: Request) -> bool:
    """Return whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true"


def refreshed() -> Response:
    """Tell the page that polls to load itself anew: its pace, or what stands around, has changed."""
    return Response(status_code=204, headers={"HX-Refresh": "true"})
