"""Which letters a search looks for: the rare ones; what is found is the same whatever was guessed."""

import random
from collections import Counter

import pytest

from appliance.disk import index_rarity, index_search
from appliance.disk.index_file import NO_TEXT, ROOT, Index, path_of
from appliance.disk.index_search import find


def test_the_rarest_letters_are_looked_for():
    """Three lists at most; what is in no sample is rarest."""
    common = Counter({"rad": 900, "adi": 700, "dio": 800, "dup": 3, "upo": 2})

    assert index_rarity.rarest(["radio", "dupont"], common) == ["pon", "ont", "upo"]
    assert index_rarity.rarest(["radio"], common) == ["adi", "dio", "rad"]
    assert index_rarity.rarest(["rad"], common) == ["rad"]
    assert index_rarity.rarest(["le"], common) == []


@pytest.fixture
def index(settings, share):
    """Names made of few syllables, so that every three letters are in many."""
    index = Index(path_of(settings, share.id))
    dice = random.Random(3)
    index.connection.execute("BEGIN")
    for number in range(600):
        name = "".join(dice.choices(["ra", "dio", "mon", "l'e", "12", " ", "tes", "ti"], k=5))
        index.add(
            ROOT, f"{name}{number}".encode(), "f", size=1, mtime_ns=number, inode=0, text=NO_TEXT
        )
    index.connection.execute("COMMIT")
    yield index
    index.close()


def test_a_sample_says_what_is_common(index):
    """Of all names when there are few."""
    index_rarity._known.clear()
    common = index_rarity.common(index.path, index.connection)

    assert common["dio"] > common["599"] == 1
    assert index_rarity.common(index.path, index.connection) is common


def test_a_wrong_guess_finds_the_same(index, settings, share, monkeypatch):
    """Against every name that is there, with guesses by chance."""
    names = [row[0] for row in index.connection.execute("SELECT norm FROM entry")]
    dice = random.Random(4)
    monkeypatch.setattr(index_search, "CANDIDATES", 10_000)
    found = 0
    for _ in range(200):
        guess = Counter({name[at : at + 3]: dice.randrange(9) for name in names for at in range(4)})
        monkeypatch.setattr(index_rarity, "common", lambda *_, guess=guess: guess)
        name = dice.choice(names)
        start = dice.randrange(max(1, len(name) - 4))
        words = name[start : start + dice.randint(3, 8)].split()
        if not any(len(each) >= 3 for each in words):
            continue
        hits = find(settings, [share], " ".join(words), limit=10_000).hits
        wanted = sorted(each for each in names if all(word in each for word in words))
        # Quotes part words: then more may be found than what stands there letter by letter.
        if "'" not in "".join(words):
            assert sorted(hit.path.decode() for hit in hits) == wanted, words
            found += len(wanted)
    assert found > 1_000
