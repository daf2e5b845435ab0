"""Excludes: matched by looks into sets, and still exactly what Borg's own matcher says."""

import os

import pytest
from borg.patterns import PatternMatcher, parse_exclude_pattern
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup_jobs.borg_library_patterns import Excludes
from appliance.backup_jobs.sources.defaults import DEFAULT_EXCLUDES
from appliance.errors import InvalidInput
from appliance.model import System

PATTERNS = (
    "sh:**/Cache",
    "sh:home/*/.cache",
    "sh:**/*.tmp",
    "sh:var/log/",
    "sh:a/**/b",
    "pp:proc",
    "pp:/var/cache/",
    "pf:etc/secret",
    "pf:/etc/other",
    "fm:*/node",
    "*.bak",
    "home/x",
    "re:^srv/[0-9]+/tmp$",
    "re:\\.o$",
    "sh:**/[ab]?c",
    "sh:**/odd[",
    "sh:*/$Recycle.Bin",
)
parts = st.sampled_from(
    [
        "Cache",
        "home",
        "x",
        ".cache",
        "a.tmp",
        "var",
        "log",
        "a",
        "b",
        "proc",
        "cache",
        "etc",
        "secret",
        "other",
        "node",
        "y.bak",
        "srv",
        "12",
        "tmp",
        "m.o",
        "axc",
        "odd[",
        "$Recycle.Bin",
    ]
)


def walked(excludes: Excludes, path: str) -> bool:
    """Whether a walk that prunes reaches ``path``."""
    names = path.split("/")
    for size in range(1, len(names) + 1):
        if excludes.match(os.fsencode("/".join(names[:size])), os.fsencode(names[size - 1])):
            return False
    return True


def borg_reaches(matcher: PatternMatcher, path: str) -> bool:
    """Whether `borg create --exclude` reaches it: excluded folders are not looked into."""
    names = path.split("/")
    return all(matcher.match("/".join(names[:size])) for size in range(1, len(names) + 1))


@given(st.lists(parts, min_size=1, max_size=6), st.sets(st.sampled_from(PATTERNS), max_size=5))
def test_a_walk_reaches_what_borg_would_reach(names, patterns):
    """Whatever patterns are combined, over every path."""
    path = "/".join(names)
    matcher = PatternMatcher(fallback=True)
    matcher.add_inclexcl([parse_exclude_pattern(each) for each in sorted(patterns)])
    assert walked(Excludes(sorted(patterns)), path) == borg_reaches(matcher, path)


@pytest.mark.parametrize(
    ("system", "left_out", "kept"),
    [
        (System.LINUX, b"proc", b"home/a/proc"),
        (System.LINUX, b"home/anne/.cache", b"home/anne/.config"),
        (System.LINUX, b"var/cache", b"var/lib/cache"),
        (System.MACOS, b"Users/anne/Library/Caches", b"Users/anne/Library/Mail"),
        (System.MACOS, b"Users/anne/.Trash", b"Users/anne/Trash"),
        (System.WINDOWS, b"C/pagefile.sys", b"C/Users/pagefile.sys.txt"),
        (System.WINDOWS, b"D/$RECYCLE.BIN", b"D/Recycle"),
        (System.WINDOWS, b"C/users/Anne/appdata/local/temp", b"C/Users/Anne/Documents/Temp"),
        (System.WINDOWS, b"C/System Volume Information", b"C/Users/System"),
    ],
)
def test_each_system_leaves_out_its_own_rubbish_and_nothing_else(system, left_out, kept):
    """Swap files, recycle bins, caches; never a folder of documents that only sounds like one."""
    excludes = Excludes(DEFAULT_EXCLUDES[system], ignore_case=system is System.WINDOWS)
    assert excludes.match(left_out, left_out.rpartition(b"/")[2])
    assert not excludes.match(kept, kept.rpartition(b"/")[2])


@pytest.mark.parametrize("pattern", ["zz:what", "re:(", "re:[z-a]"])
def test_a_pattern_borg_does_not_understand_is_refused(pattern):
    """When the source is read, not silently ignored."""
    with pytest.raises(InvalidInput):
        Excludes([pattern])


def test_names_that_are_not_utf8_can_be_matched():
    """As Borg does it: bytes that are no text stand for themselves."""
    assert Excludes(["sh:**/caf\udce9"]).match(b"a/caf\xe9", b"caf\xe9")
    assert not Excludes(["sh:**/*.tmp"]).match(b"a/caf\xe9", b"caf\xe9")
