"""Rights on a share in words, as a sentence about a person."""

from collections.abc import Collection

from appliance.language import Language, mark, translate
from appliance.model import Person
from appliance.policy.roles import ROLE_NAMES
from appliance.policy.share_rights import RIGHT_TEXTS, Right


def rights_words(rights: Collection[Right], language: Language) -> str:
    """Return «see, add and change», in the order of ``Right``; empty for none."""
    said = [translate(RIGHT_TEXTS[each], language) for each in Right if each in rights]
    if len(said) < 2:
        return "".join(said)
    last = translate(mark("and %(last)s"), language, last=said[-1])
    return f"{', '.join(said[:-1])} {last}"


def sentence(person: Person, rights: Collection[Right], language: Language) -> str:
    """Return what a person may do on a share, as one sentence."""
    role = translate(ROLE_NAMES[person.role], language)
    if not rights:
        return translate(
            mark("%(name)s (%(role)s) sees nothing here."), language, name=person.name, role=role
        )
    return translate(
        mark("%(name)s (%(role)s) may %(rights)s."),
        language,
        name=person.name,
        role=role,
        rights=rights_words(rights, language),
    )
