"""What a person is told when there is no preview. Apart, so that who makes them loads no language."""

from typing import Final

from appliance.language import mark

#: ``protocol.REASONS`` → words.
WORDS: Final[dict[str, str]] = {
    "kind": mark("files of this kind are not shown"),
    "broken": mark("it is damaged, or not what its name says"),
    "large": mark("it is too large to be read safely"),
    "locked": mark("it asks for a password"),
    "codec": mark("it is compressed in a way the box does not read"),
    "page": mark("it has no such page"),
}
