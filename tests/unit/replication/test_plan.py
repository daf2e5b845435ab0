"""What to send and what to remove, against a model of the target."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from appliance.replication import plan
from appliance.replication.plan import (
    KeepGenerations,
    KnownGeneration,
    LocalFile,
    SentObject,
    StoredObject,
)

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
FILES = st.builds(
    LocalFile,
    st.integers(1, 3),
    st.integers(0, 30).map("data/0/{}".format),
    st.integers(1, 99),
    st.integers(1, 9),
)


def test_nothing_new_sends_nothing():
    here = {LocalFile(1, "data/0/1", 10, 5)}
    sent = [SentObject("objects/a", file, 210) for file in here]

    assert plan.plan_send(here, sent, listed=None).send == ()
    assert plan.plan_send(here, sent, listed={"objects/a": 210}).send == ()


def test_what_the_target_lost_or_cut_short_is_sent_again():
    here = {LocalFile(1, "data/0/1", 10, 5), LocalFile(1, "data/0/2", 10, 5)}
    sent = [SentObject(f"objects/{file.path[-1]}", file, 210) for file in here]

    found = plan.plan_send(here, sent, listed={"objects/1": 100})

    assert {file.path for file in found.send} == {"data/0/1", "data/0/2"}


@given(st.sets(FILES, max_size=20), st.sets(FILES, max_size=20))
def test_every_file_is_sent_or_reused_never_both(here, before):
    sent = [SentObject(f"objects/{number}", file, file.size) for number, file in enumerate(before)]

    found = plan.plan_send(here, sent, listed=None)

    assert set(found.send) | set(found.reuse) == here
    assert not set(found.send) & set(found.reuse)
    assert len(found.send) == len(set(found.send))
    assert all(found.reuse[file].file == file for file in found.reuse)


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=60, unique=True),
    st.builds(KeepGenerations, st.integers(0, 20), st.integers(0, 10), st.integers(0, 12)),
)
def test_the_newest_generation_always_stays_and_deciding_again_removes_nothing(days, keep):
    known = [KnownGeneration(n, NOW + timedelta(days=day)) for n, day in enumerate(sorted(days), 1)]

    gone = plan.generations_to_remove(known, keep)
    left = [each for each in known if each.number not in gone]

    assert known[-1] in left
    assert len(left) <= 1 + keep.daily + keep.weekly + keep.monthly
    assert plan.generations_to_remove(left, keep) == []


def test_nothing_is_removed_while_the_last_verification_failed():
    stored = [StoredObject("objects/a", NOW - timedelta(days=90), NOW - timedelta(days=60))]

    assert plan.objects_to_remove(stored, named=(), now=NOW, last_verification_was_good=False) == []
    assert plan.objects_to_remove(stored, named=(), now=NOW, last_verification_was_good=True) == [
        "objects/a"
    ]
    assert (
        plan.objects_to_remove(
            stored, named=["objects/a"], now=NOW, last_verification_was_good=True
        )
        == []
    )


@given(
    st.lists(st.tuples(st.integers(1, 100), st.none() | st.integers(0, 50)), max_size=30),
    st.integers(0, 500),
)
def test_reading_back_comes_round_to_every_object(objects, budget):
    """However small the budget, after enough nights each was read."""
    read = {
        f"o{n}": None if age is None else NOW - timedelta(days=age)
        for n, (_, age) in enumerate(objects)
    }
    sizes = {f"o{n}": size for n, (size, _) in enumerate(objects)}
    for night in range(len(objects)):
        chosen = plan.next_to_read_back([(n, sizes[n], read[n]) for n in read], budget_bytes=budget)
        assert sum(sizes[n] for n in chosen[1:]) <= max(budget, 0)
        for name in chosen:
            read[name] = NOW + timedelta(days=night)

    assert all(at is not None and at >= NOW for at in read.values())


class Copies(RuleBasedStateMachine):
    """A box that pushes, changes, forgets generations and cleans: every kept generation stays whole."""

    @initialize()
    def start(self):
        self.now = NOW
        self.local: set[LocalFile] = {LocalFile(1, "config", 10, 1)}
        self.target: dict[str, LocalFile] = {}
        self.put: dict[str, datetime] = {}
        self.orphaned: dict[str, datetime] = {}
        self.generations: dict[int, frozenset[str]] = {}
        self.number = 0
        self.segment = 0
        self.counter = 0

    @rule(size=st.integers(1, 99))
    def backup(self, size):
        self.segment += 1
        self.local.add(LocalFile(1, f"data/0/{self.segment}", size, self.segment))

    @rule(data=st.data())
    def compact(self, data):
        segments = sorted(file for file in self.local if file.path != "config")
        if segments:
            self.local -= data.draw(st.sets(st.sampled_from(segments), max_size=3))

    @rule(cut=st.booleans())
    def push(self, cut):
        sent = [SentObject(name, file, file.size) for name, file in self.target.items()]
        found = plan.plan_send(self.local, sent, listed={n: f.size for n, f in self.target.items()})
        names = {each.name for each in found.reuse.values()}
        for at, file in enumerate(found.send):
            if cut and at == len(found.send) // 2:
                return
            self.counter += 1
            name = f"objects/{self.counter}"
            self.target[name], self.put[name] = file, self.now
            names.add(name)
        self.number += 1
        self.generations[self.number] = frozenset(names)

    @rule(days=st.integers(1, 5))
    def time_passes(self, days):
        self.now += timedelta(days=days)

    @rule(data=st.data())
    def host_loses_an_object_no_generation_names(self, data):
        loose = sorted(set(self.target) - set().union(*self.generations.values()))
        if loose:
            del self.target[data.draw(st.sampled_from(loose))]

    @rule(keep=st.integers(1, 3), good=st.booleans())
    def clean(self, keep, good):
        for number in sorted(self.generations)[:-keep]:
            for name in self.generations.pop(number):
                if not any(name in kept for kept in self.generations.values()):
                    self.orphaned.setdefault(name, self.now)
        named = set().union(*self.generations.values())
        stored = [StoredObject(n, self.put[n], self.orphaned.get(n)) for n in self.target]
        for name in plan.objects_to_remove(
            stored, named=named, now=self.now, last_verification_was_good=good
        ):
            assert good
            del self.target[name]

    @invariant()
    def every_kept_generation_is_whole(self):
        for names in getattr(self, "generations", {}).values():
            assert names <= set(self.target)


TestCopies = Copies.TestCase
