"""Excludes in Borg's pattern language, matched fast: most of them by a look into a set.

Part of the ``borg_library`` family: patterns are parsed by Borg's own classes, so they mean exactly
what they mean for `borg create --exclude`. Walking prunes: what is excluded is not looked into, so a
pattern for a whole path needs to match that path only.
"""

import os
import re
from collections.abc import Callable, Iterable
from typing import Final

from borg.patterns import (  # noqa: TID251 - the borg_library family
    FnmatchPattern,
    PathFullPattern,
    PathPrefixPattern,
    ShellPattern,
    parse_exclude_pattern,
)

from appliance.errors import InvalidInput
from appliance.language import mark

_ANY_FOLDER: Final = re.compile(r"(?:sh:)?\*\*/([^/*?\[\]{}\\]+)")
_PLAIN: Final = re.compile(r"[^*?\[\]{}\\]+")


class Excludes:
    """Says which paths are left out."""

    def __init__(self, patterns: Iterable[str], *, ignore_case: bool = False) -> None:
        """Parse ``patterns``; «fm:» is meant where no style is named, as Borg does.

        Args:
            patterns: «sh:**/Cache», «pf:/proc», «re:…».
            ignore_case: for systems whose names do.

        Raises:
            InvalidInput: a pattern that Borg does not understand.
        """
        self._ignore_case = ignore_case
        self._names: set[bytes] = set()
        self._paths: set[bytes] = set()
        self._matchers: list[Callable[[str], object]] = []
        regexes = []
        for pattern in patterns:
            text = pattern.lower() if ignore_case and not pattern.startswith("re:") else pattern
            anywhere = _ANY_FOLDER.fullmatch(text) if text.startswith("sh:") else None
            if anywhere:
                self._names.add(os.fsencode(anywhere.group(1)))
                continue
            try:
                parsed = parse_exclude_pattern(text).val
            except (ValueError, re.error) as error:
                raise InvalidInput(
                    "excludes", mark("patterns of Borg, like «sh:**/Cache».")
                ) from error
            if isinstance(parsed, PathFullPattern):
                self._paths.add(os.fsencode(parsed.pattern))
            elif isinstance(parsed, PathPrefixPattern):
                self._paths.add(os.fsencode(parsed.pattern.rstrip("/")))
            elif isinstance(parsed, ShellPattern | FnmatchPattern):
                plain = text[3:] if text[2:3] == ":" else text
                if _PLAIN.fullmatch(plain) and not plain.endswith("/"):
                    self._paths.add(os.fsencode(os.path.normpath(plain).lstrip("/")))
                else:
                    # Flags at the front of a pattern would hold for all of them.
                    regexes.append(re.sub(r"\A\(\?ms\)(.*)\Z", r"(?ms:\1)", parsed.regex.pattern))
            else:
                flags = re.IGNORECASE if ignore_case else 0
                self._matchers.append(re.compile(parsed.pattern, flags).search)
        #: One expression for all: one call a path.
        self._regex = re.compile("|".join(regexes)).match if regexes else None

    def match(self, path: bytes, name: bytes) -> bool:
        """Return whether ``path`` (as stored, without leading slash; ends with ``name``) is left out."""
        if self._ignore_case:
            path = os.fsencode(os.fsdecode(path).lower())
            name = path.rpartition(b"/")[2]
        if name in self._names or path in self._paths:
            return True
        if self._regex is None and not self._matchers:
            return False
        text = os.fsdecode(path)
        if self._regex is not None and self._regex(text + "/"):
            return True
        return any(matcher(text) for matcher in self._matchers)
