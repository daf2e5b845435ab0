"""An attack raises the alarm, ordinary life does not."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.anomaly import (
    ANOMALY_TEXTS,
    HISTORY,
    AnomalyKind,
    AnomalyLevel,
    Canary,
    Limit,
    RunFigures,
    anomaly_words,
    is_red,
    judge_run,
    learned_limit,
)
from appliance.policy.ransomware import ContentSample, appended_suffix, judge_contents, pair_renames
from appliance.units import GIB, MIB
from tests.unit.policy.test_ransomware import HEADS, LETTER, keystream

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
FILES = 20_000
LETTERS = ContentSample(sampled=40, incompressible=18, headers_known=36, headers_wrong=0)
ENCRYPTED = ContentSample(sampled=40, incompressible=40, headers_known=36, headers_wrong=36)
#: Encrypted, of files whose names promise nothing (.dat, .mdb of an editor).
OPAQUE = ContentSample(sampled=40, incompressible=40)


def figures(**change) -> RunFigures:
    usual = RunFigures(
        at=NOW,
        files_before=FILES,
        changed=60,
        added=120,
        vanished=5,
        renamed=3,
        original_bytes=40 * GIB,
        original_bytes_before=40 * GIB,
        new_bytes=80 * MIB,
        contents=LETTERS,
    )
    return replace(usual, **change)


def practice(nights: int = 30, seed: int = 1) -> list[RunFigures]:
    """A practice's nights: busy weekdays, quiet weekends, Mondays after them, an odd tidying-up."""
    chance = random.Random(seed)
    found = []
    size = 40 * GIB
    for night in range(nights):
        at = NOW - timedelta(days=nights - night)
        busy = 0.1 if at.isoweekday() in {6, 7} else chance.uniform(0.5, 1.6)
        grown = int(busy * 90 * MIB)
        found.append(
            figures(
                at=at,
                changed=int(60 * busy),
                added=int(120 * busy),
                vanished=int(6 * busy),
                renamed=int(4 * busy) + (80 if night % 13 == 5 else 0),
                original_bytes=size + grown,
                original_bytes_before=size,
                new_bytes=grown,
                contents=ContentSample(40, chance.randint(12, 26), 36, chance.randint(0, 1)),
            )
        )
        size += grown
    return found


PAST = practice()


def red(run: RunFigures, past=PAST) -> list[AnomalyKind]:
    return [one.kind for one in judge_run(run, past) if one.level is AnomalyLevel.RED]


@pytest.mark.parametrize("seed", range(8))
def test_ordinary_nights_raise_nothing_red(seed):
    """Two months of a practice's life, each night judged by those before it."""
    nights = practice(60, seed)

    for number, night in enumerate(nights):
        assert not is_red(judge_run(night, nights[:number]))


ATTACKS = {
    "in place, same names and sizes": {"changed": 6_000, "contents": ENCRYPTED},
    "in place, names that promise nothing": {"changed": 6_000, "contents": OPAQUE},
    "nobody could look at the contents": {"changed": 6_000, "contents": ContentSample()},
    "each renamed with an unknown ending": {
        "changed": 0,
        "vanished": 6_000,
        "added": 6_000,
        "appended": 6_000,
        "contents": OPAQUE,
    },
    "each renamed with a known ending": {
        "vanished": 6_000,
        "added": 6_000,
        "known_suffixes": 6_000,
        "contents": ENCRYPTED,
    },
    "renamed at random": {"vanished": 6_000, "added": 6_000, "contents": OPAQUE},
    "overwritten with nothing": {
        "changed": 6_000,
        "original_bytes": 28 * GIB,
        "contents": ContentSample(40, 0, 36, 36),
    },
    "cut to nothing": {"changed": 14_000, "original_bytes": 12 * GIB, "contents": ContentSample()},
    "deleted": {"vanished": 6_000},
    "only one in ten, slowly": {"changed": 400, "contents": replace(ENCRYPTED, headers_wrong=33)},
    "just begun: the canary": {"canary": Canary.CHANGED},
    "just begun: the canary is gone": {"canary": Canary.GONE},
    "just begun: a few known endings": {"known_suffixes": 3},
    "just begun: one ending and one letter": {"known_suffixes": 1, "ransom_notes": 1},
    "a letter in every folder": {"ransom_notes": 40},
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("nights", [0, 3, 14, 30])
def test_encrypting_30_percent_of_a_source_is_red(attack, nights):
    """With a long history, a short one and none."""
    assert red(figures(**attack), PAST[:nights])


ORDINARY = {
    "a usual night": {},
    "nothing at all": {"changed": 0, "added": 0, "vanished": 0, "renamed": 0, "new_bytes": 0},
    "the Monday after the holidays": {"changed": 900, "added": 1_500, "vanished": 60},
    "an update of the practice's program": {
        "changed": 3_500,
        "added": 4_000,
        "vanished": 900,
        "new_bytes": 900 * MIB,
        "contents": ContentSample(sampled=60, incompressible=20, headers_known=45, headers_wrong=0),
    },
    "the year's scans brought in": {
        "added": 9_000,
        "original_bytes": 58 * GIB,
        "new_bytes": 18 * GIB,
        "contents": ContentSample(sampled=60, incompressible=58, headers_known=60, headers_wrong=0),
    },
    "every photograph turned upright": {
        "changed": 5_000,
        "contents": ContentSample(sampled=60, incompressible=60, headers_known=60, headers_wrong=1),
    },
    "a folder of 2015 moved elsewhere": {"renamed": 8_000},
    "old scans thrown away": {"vanished": 1_200, "original_bytes": 36 * GIB},
    "one film thrown away": {"vanished": 1, "original_bytes": 15 * GIB},
    "one odd name": {"known_suffixes": 1},
    "one letter kept as an example": {"ransom_notes": 1},
    "two broken files in the sample": {"contents": replace(LETTERS, headers_wrong=2)},
}


@pytest.mark.parametrize("night", ORDINARY.values(), ids=ORDINARY)
@pytest.mark.parametrize("nights", [0, 3, 14, 30])
def test_ordinary_life_is_never_red(night, nights):
    """It may be a notice."""
    assert not red(figures(**night), PAST[:nights])


def source(files: int) -> dict[bytes, bytes]:
    """A source of real bytes: documents, scans, tables and an editor's own files."""
    kinds = [*HEADS.items(), ("a.dat", b"\x01\x02EDITOR")]
    found = {}
    for number in range(files):
        name, head = kinds[number % len(kinds)]
        body = (
            keystream(700, name.encode() + bytes([number % 251])) if "jpg" in name else LETTER * 9
        )
        path = f"Patients/{number // 40}/{number}-{name}".encode()
        found[path] = head + body if not name.startswith("b.txt") else head + LETTER * 9
    return found


def encrypted(content: bytes, path: bytes) -> bytes:
    return bytes(one ^ key for one, key in zip(content, keystream(len(content), path), strict=True))


def compare(before: dict[bytes, bytes], after: dict[bytes, bytes]) -> RunFigures:
    """Figures of a run as the catalogue sees it: paths and contents of two nights."""
    gone = [(path, content) for path, content in before.items() if path not in after]
    new = [(path, content) for path, content in after.items() if path not in before]
    renames = pair_renames(gone, new)
    changed = [path for path in before if path in after and after[path] != before[path]]
    touched = [*changed, *(path for path, _ in new)]
    return RunFigures(
        at=NOW,
        files_before=len(before),
        changed=len(changed),
        added=len(new) - len(renames),
        vanished=len(gone) - len(renames),
        renamed=len(renames),
        original_bytes=sum(map(len, after.values())),
        original_bytes_before=sum(map(len, before.values())),
        new_bytes=sum(len(after[path]) for path in touched),
        contents=judge_contents((path, after[path]) for path in touched[:60]),
        appended=appended_suffix([path for path, _ in gone], [path for path, _ in new])[1],
    )


@pytest.mark.parametrize("nights", [0, 14])
@pytest.mark.parametrize("ending", [b"", b".x7q"])
def test_real_bytes_encrypted_in_a_third_of_the_files_are_red(ending, nights):
    """Sizes stay; names stay or get an ending nobody knows."""
    before = source(600)
    after = {
        path + (ending if number % 10 < 3 else b""): encrypted(content, path)
        if number % 10 < 3
        else content
        for number, (path, content) in enumerate(before.items())
    }
    run = compare(before, after)

    assert run.touched_share == pytest.approx(0.3)
    assert AnomalyKind.ENCRYPTED in red(run, PAST[:nights])


def test_real_bytes_of_a_usual_day_are_not_red():
    """Letters rewritten, scans added, a folder moved."""
    before = source(600)
    after = dict(before)
    for number, path in enumerate(list(before)):
        if number % 25 == 0 and path.endswith(b".txt"):
            after[path] = before[path] + LETTER
        if path.startswith(b"Patients/3/"):
            after[path.replace(b"/3/", b"/trois/")] = after.pop(path)
    for number in range(60):
        after[f"Scans/{number}.jpg".encode()] = b"\xff\xd8\xff\xe0" + keystream(
            900, bytes([number])
        )
    run = compare(before, after)

    assert run.renamed == 40
    assert not red(run, [])


def test_a_slow_attack_is_seen_though_each_night_is_small():
    """Two in a hundred a night: the names lie, whatever the share."""
    run = figures(changed=400, contents=ENCRYPTED)

    assert red(run) == [AnomalyKind.ENCRYPTED_SLOWLY]


def test_a_source_where_much_changes_every_night_learns_its_own_limit():
    """A log server changes a third; a third more, encrypted, is still red."""
    noisy = [figures(changed=6_000 + 50 * night) for night in range(14)]

    assert not judge_run(figures(changed=6_900), noisy)
    assert red(figures(changed=12_500, contents=ENCRYPTED), noisy) == [
        AnomalyKind.ENCRYPTED_SLOWLY,
        AnomalyKind.ENCRYPTED,
    ]


def test_a_source_of_five_files_is_judged_too_and_four_are_not_enough():
    """Below a handful a share says nothing."""
    tiny = figures(files_before=12, changed=5, added=0, vanished=0, renamed=0, contents=OPAQUE)

    assert red(tiny, []) == [AnomalyKind.ENCRYPTED]
    assert not red(replace(tiny, changed=4), [])


def test_the_first_run_has_nothing_to_be_compared_with():
    """Everything is new; only names that speak for themselves count."""
    first = RunFigures(at=NOW, files_before=0, added=20_000, new_bytes=40 * GIB, contents=OPAQUE)

    assert judge_run(first, []) == []
    assert red(replace(first, known_suffixes=9), []) == [AnomalyKind.KNOWN_SUFFIX]


def test_contents_that_stop_compressing_are_a_notice():
    """Few files, but unlike those of other nights, and no beginning clears them."""
    run = figures(contents=ContentSample(sampled=40, incompressible=39, headers_known=4))
    found = judge_run(run, PAST)

    assert [(one.kind, one.level) for one in found] == [
        (AnomalyKind.INCOMPRESSIBLE, AnomalyLevel.NOTICE)
    ]
    assert judge_run(replace(run, contents=ContentSample(40, 39, 38, 0)), PAST) == []


def test_a_sample_that_half_lies_is_weighed_by_its_bytes():
    """A tenth of the beginnings wrong says nothing alone."""
    between = ContentSample(sampled=40, incompressible=16, headers_known=36, headers_wrong=4)

    assert not red(figures(changed=6_000, contents=between))
    assert red(figures(changed=6_000, contents=replace(between, incompressible=39)))


def test_what_many_runs_vary_by_is_not_abnormal():
    """Median and deviation, floor and ceiling."""
    assert learned_limit([], 0.1) == Limit(0.0, 0.1)
    assert learned_limit([0.5, 0.7], 0.1) == Limit(0.6, 0.1)
    assert learned_limit([0.01] * 9, 0.1) == Limit(0.01, 0.1)
    assert learned_limit([0.2] * 9, 0.1) == Limit(0.2, 0.2)
    assert learned_limit([0.0, 0.1, 0.2, 0.3, 0.4], 0.1).threshold == pytest.approx(1.08956)
    assert learned_limit([0.0, 0.1, 0.2, 0.3, 0.4], 0.1, ceiling=0.5).threshold == 0.5
    assert learned_limit([0.0, 0.1, 0.2, 0.3, 0.4], 0.7, ceiling=0.5).threshold == 0.7


def test_only_the_last_runs_are_learned_from():
    """What was usual a year ago is not."""
    old = [figures(changed=8_000) for _ in range(20)]

    assert red(figures(changed=6_000, contents=OPAQUE), [*old, *PAST[-HISTORY:]])
    assert not judge_run(figures(changed=6_000), old)


counts = st.integers(0, 30_000)
any_run = st.builds(
    RunFigures,
    at=st.just(NOW),
    files_before=counts,
    changed=counts,
    added=counts,
    vanished=counts,
    renamed=counts,
    original_bytes=st.integers(0, 10**13),
    original_bytes_before=st.integers(0, 10**13),
    new_bytes=st.integers(0, 10**13),
    contents=st.tuples(st.integers(0, 60), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).map(
        lambda one: ContentSample(
            one[0], int(one[0] * one[1]), int(one[0] * one[2]), int(int(one[0] * one[2]) * one[3])
        )
    ),
    known_suffixes=st.integers(0, 9),
    ransom_notes=st.integers(0, 9),
    appended=counts,
    canary=st.sampled_from(Canary),
)


@given(any_run, st.lists(any_run, max_size=20))
def test_every_reading_is_explained_and_above_its_limit(run, past):
    """Red first, each once, each with a sentence in both languages."""
    found = judge_run(run, past)

    assert len({one.kind for one in found}) == len(found)
    assert [one.level for one in found] == sorted(
        (one.level for one in found), key=lambda level: level is AnomalyLevel.NOTICE
    )
    for one in found:
        assert one.value >= one.threshold or one.level is AnomalyLevel.NOTICE
        assert 0 <= one.runs <= HISTORY
        french, english = (
            anomaly_words(one.kind, one.reading, language) for language in ("fr", "en")
        )
        assert french != english
        assert "%(" not in french + english


@given(any_run, st.lists(any_run, max_size=16), st.integers(1, 500))
def test_more_encrypted_files_are_never_less_alarming(run, past, more):
    """Were it otherwise, an attacker would encrypt everything."""
    base = replace(run, files_before=20_000, contents=OPAQUE, changed=min(run.changed, 19_000))

    assert is_red(judge_run(base, past)) <= is_red(
        judge_run(replace(base, changed=base.changed + more), past)
    )


def test_an_alarm_is_explained_from_what_is_stored():
    """Value, what is usual, and the limit, in the reader's language."""
    found = judge_run(figures(changed=6_000, contents=OPAQUE, new_bytes=9 * GIB), PAST)
    words = {one.kind: anomaly_words(one.kind, one.reading, "fr") for one in found}

    assert words[AnomalyKind.ENCRYPTED] == (
        "30 % des fichiers ont été modifiés et semblent chiffrés ; d’habitude 0,3 % sont modifiés,"
        " la limite est de 10 %."
    )
    assert words[AnomalyKind.GROWTH].startswith("9,7 Go sont arrivés en une nuit ; d’habitude ")
    assert anomaly_words("canary", {"value": 1, "usual": 0, "threshold": 1}, "en").startswith(
        "The canary"
    )
    assert anomaly_words("of-a-later-version", {}, "fr") == "of-a-later-version"
    assert set(ANOMALY_TEXTS) == set(AnomalyKind)
