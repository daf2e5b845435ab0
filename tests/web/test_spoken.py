"""Fixed texts are in the compiled template, in the reader's language, and escaped as ever."""

import pytest
from jinja2 import DictLoader, Environment, StrictUndefined

from appliance.language import translate
from appliance.web.render import Renderer
from appliance.web.spoken import fold

PAGES = {
    "plain": "{{ _('Sign out') }}",
    "fact": "{{ _('Pick %(name)s', name='<#>') }}",
    "moving": "{{ _('Pick %(name)s', name=who) }}",
    "marks": "{{ _('a < b & \"c\"') }}",
    "place": "{{ static('app.css') }}",
    "variable": "{{ _(text) }}",
    "method": "{{ words._('Sign out') }}",
    "json": "{{ {'a': _('Sign out'), 'b': _('Pick %(name)s', name='#')} | tojson }}",
    "set": "{% set a = _('Sign out') %}{{ a }}{% if a == _('Sign out') %}!{% endif %}",
}


def said(words, **facts):
    return f"asked:{words % facts if facts else words}"


class Words:
    _ = staticmethod(said)


@pytest.fixture(params=["fr", "en"])
def speaking(request):
    environment = Environment(loader=DictLoader(PAGES), autoescape=True, undefined=StrictUndefined)
    folded = fold(environment, request.param, lambda name: f"/static/0/{name}")

    def render(name, **context):
        context = {"_": said, "words": Words(), **context}
        return folded.get_template(name).render(context)

    return request.param, render


def test_a_fixed_text_is_not_asked_for_again(speaking):
    """It stands in the template, translated."""
    language, render = speaking
    out = {"fr": "Se déconnecter", "en": "Sign out"}[language]
    pick = translate("Pick %(name)s", language, name="#")

    assert render("plain") == out
    assert render("set") == f"{out}!"
    assert render("json") == f'{{"a": "{out}", "b": "{pick}"}}'.replace("é", "\\u00e9")
    assert render("place") == "/static/0/app.css"


def test_fixed_texts_are_escaped(speaking):
    """What stands in a template is a text, not HTML."""
    _, render = speaking

    assert render("marks") == "a &lt; b &amp; &#34;c&#34;"
    assert "&lt;#&gt;" in render("fact")


def test_what_is_known_only_with_the_page_is_asked_for_then(speaking):
    """A name, a variable, a method that is called alike."""
    _, render = speaking

    assert render("moving", who="<Anne>") == "asked:Pick &lt;Anne&gt;"
    assert render("variable", text="Sign out") == "asked:Sign out"
    assert render("method") == "asked:Sign out"


def test_a_fixed_text_that_is_not_in_the_folder_of_static_files_is_a_mistake(speaking):
    """Found when the template is compiled, that is in the first test of the page."""

    def missing(name):
        raise KeyError(name)

    environment = fold(Environment(autoescape=True), "fr", missing)
    with pytest.raises(KeyError):
        environment.from_string("{{ static('nothing.css') }}")


def test_every_template_of_the_product_is_compiled_in_both_languages(anonymous):
    """None of them was written in a way that the folding breaks."""
    renderer: Renderer = anonymous.app.state.renderer
    for environment in renderer._environments.values():
        names = environment.list_templates(extensions=["html"])
        assert len(names) > 60
        for name in names:
            environment.get_template(name)
