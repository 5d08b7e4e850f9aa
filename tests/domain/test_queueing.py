"""Turns: nobody waits behind a flood, weights hold over time, nothing starves, full resources block nobody."""

import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.queueing import Lane, Share, Turns, room_of, shares_of
from domain.values import derived_id
from tests.support.examples import examples

AGEING = 10.0


@dataclass
class Asked:
    """A job that somebody wants done."""

    share: int
    at: float
    priority: int = 5
    seconds: float = 1.0
    occupies: tuple[str, ...] = ()


@dataclass
class Installation:
    """Slots and a clock; keeps the same books as the queue in Postgres, by the same functions."""

    slots: int
    weights: dict[int, int] = field(default_factory=dict[int, int])
    limits: dict[str, int] = field(default_factory=dict[str, int])
    turns: Callable[..., Turns] = Turns
    now: float = 0.0
    spent: dict[UUID, float] = field(default_factory=dict[UUID, float])
    began: dict[UUID, float] = field(default_factory=dict[UUID, float])
    served: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    calls: list[tuple[float, float, Asked]] = field(default_factory=list[tuple[float, float, Asked]])
    """When they end, when they began, and what they are."""
    waits: dict[int, float] = field(default_factory=dict[int, float])

    def weight(self, share: int) -> int:
        return self.weights.get(share, 1)

    def run(self, asked: list[Asked], until: float = 10**9) -> "Installation":
        """Until all is done, or that moment."""
        coming = deque(sorted(range(len(asked)), key=lambda each: asked[each].at))
        lanes: dict[UUID, deque[int]] = {}
        while (coming or lanes or self.calls) and self.now < until:
            while coming and asked[coming[0]].at <= self.now:
                job = asked[coming[0]]
                lane = derived_id(job.share, job.priority, job.occupies)
                lanes.setdefault(lane, deque()).append(coming.popleft())
            self._give_out(asked, lanes)
            lanes = {lane: jobs for lane, jobs in lanes.items() if jobs}
            ends = [self.calls[0][0]] if self.calls else []
            comes = [asked[coming[0]].at] if coming else []
            if not ends and not comes:
                break
            self.now = min(ends + comes)
            while self.calls and self.calls[0][0] <= self.now:
                _, began, job = heapq.heappop(self.calls)
                key = UUID(int=job.share)
                self.spent[key] = self.spent.get(key, 0) + (self.now - began) / self.weight(job.share)
        return self

    def _give_out(self, asked: list[Asked], lanes: dict[UUID, deque[int]]) -> None:
        heads: list[Lane] = []
        for lane, jobs in lanes.items():
            job = asked[jobs[0]]
            since = max(job.at, self.served.get((job.share, job.priority), 0))
            share = UUID(int=job.share)
            heads.append(Lane(lane, share, job.priority, self.now - job.at, self.now - since, job.occupies))
        floor = max(self.began.values(), default=0.0)
        weights = {each.share: self.weight(each.share.int) for each in heads}
        calls = [(UUID(int=job.share), self.now - began, self.weight(job.share)) for _, began, job in self.calls]
        turns = self.turns(
            heads,
            shares_of(calls, self.spent, weights, floor),
            room_of(self.limits, (job.occupies for *_, job in self.calls)),
            ageing=AGEING,
        )
        free = self.slots - len(self.calls)
        while free > 0 and (taken := turns.take(free)):
            many = Counter(taken)
            missing = {lane: count - len(lanes[lane]) for lane, count in many.items() if count > len(lanes[lane])}
            for lane in taken:
                if lanes[lane]:
                    self._begin(asked, lanes[lane].popleft(), floor)
                    free -= 1
            if not missing:
                break
            turns.close(missing)

    def _begin(self, asked: list[Asked], number: int, floor: float) -> None:
        job = asked[number]
        key = UUID(int=job.share)
        busy = any(under_way.share == job.share for *_, under_way in self.calls)
        self.spent[key] = self.began[key] = max(self.spent.get(key, 0), 0.0 if busy else floor)
        self.served[job.share, job.priority] = self.now
        self.waits[number] = self.now - job.at
        heapq.heappush(self.calls, (self.now + job.seconds + number * 1e-9, self.now, job))


def flood(share: int, count: int, **more: object) -> list[Asked]:
    """Everything at once, at the beginning."""
    return [Asked(share, 0.0, **more) for _ in range(count)]  # pyright: ignore[reportArgumentType]


class OldestFirst(Turns):
    """A planted bug: age goes before everything."""

    def _key(self, lane: Lane):
        return (0, -lane.age, 0.0, 0, 0.0)


class AgedFloods(Turns):
    """A planted bug: whoever is old is lifted, also when its share is being served all the time."""

    def _lifted(self, lane: Lane) -> int:
        return min(9, lane.priority + int(lane.age / self._ageing))


class Unaged(Turns):
    """A planted bug: priorities are for ever."""

    def _lifted(self, lane: Lane) -> int:
        return lane.priority


def wait_of_singles(turns: Callable[..., Turns]) -> float:
    """The longest wait of single jobs of others, behind a flood of 2,000 that is minutes old."""
    asked = flood(1, 2_000)
    asked += [Asked(2 + number, 20.0 + number * 3) for number in range(20)]
    done = Installation(8, turns=turns).run(asked)
    return max(done.waits[number] for number in range(2_000, 2_020))


def test_a_single_job_waits_for_the_next_free_slot_and_not_behind_a_flood() -> None:
    assert wait_of_singles(Turns) <= 1.0


@pytest.mark.parametrize("planted", [OldestFirst, AgedFloods])
def test_turns_that_let_floods_go_first_are_caught(planted: Callable[..., Turns]) -> None:
    assert wait_of_singles(planted) > 1.0


def wait_of_the_least(turns: Callable[..., Turns]) -> float:
    """How long one unimportant job of another project waits behind a stream of important ones, 200 s of it."""
    asked = [Asked(1, number * 0.25, priority=8) for number in range(800)]
    asked.append(Asked(2, 1.0, priority=0))
    return Installation(2, turns=turns).run(asked).waits[800]


def test_nothing_starves_behind_what_is_more_important() -> None:
    assert 7 * AGEING <= wait_of_the_least(Turns) <= 9 * AGEING + 1


def test_a_job_of_the_same_project_does_not_starve_behind_its_more_important_ones() -> None:
    asked = [Asked(1, number * 0.25, priority=8) for number in range(1000)]
    asked += [Asked(1, 1.0, priority=0), Asked(1, 1.0, priority=0)]
    waits = Installation(2).run(asked).waits
    assert waits[1000] <= 9 * AGEING + 1
    assert waits[1001] <= 18 * AGEING + 2, "one of a lane for each time that it is lifted"


def test_priorities_without_ageing_are_caught() -> None:
    assert wait_of_the_least(Unaged) > 150


@pytest.mark.parametrize("slots", [1, 2, 8])
@pytest.mark.parametrize("weights", [{1: 1, 2: 3}, {1: 5, 2: 1, 3: 2}])
def test_weights_hold_over_time_with_any_number_of_slots(slots: int, weights: dict[int, int]) -> None:
    asked = [job for share in weights for job in flood(share, 1_200)]
    done = Installation(slots, weights=weights).run(asked, until=1_000 / slots)
    served = Counter(asked[number].share for number in done.waits)
    total = sum(served.values())
    for share, weight in weights.items():
        assert served[share] / total == pytest.approx(weight / sum(weights.values()), abs=0.03)


def test_slots_are_shared_by_time_and_not_by_number() -> None:
    asked = flood(1, 500, seconds=20.0) + [Asked(2, 40.0 + number, seconds=1.0) for number in range(200)]
    done = Installation(8).run(asked, until=260)
    waits = [done.waits[number] for number in range(500, 700)]
    assert sum(wait > 3 for wait in waits) <= 20, "one project's long calls leave room for another's short ones"


def test_a_share_that_was_idle_saves_up_nothing() -> None:
    asked = flood(1, 4_000) + [Asked(2, 200.0) for _ in range(2_000)]
    done = Installation(4).run(asked, until=300)
    began = [number for number in done.waits if asked[number].at + done.waits[number] >= 201]
    served = Counter(asked[number].share for number in began)
    assert served[1] / len(began) == pytest.approx(0.5, abs=0.05)


def test_a_full_resource_blocks_nobody_else() -> None:
    asked = flood(1, 500, occupies=("provider full",), priority=9) + flood(2, 40, occupies=("provider free",))
    done = Installation(8, limits={"provider full": 1}).run(asked, until=8)
    assert all(number in done.waits for number in range(500, 540))
    assert sum(number in done.waits for number in range(500)) <= 9


jobs = st.builds(
    Asked,
    share=st.integers(1, 5),
    at=st.floats(0, 50),
    priority=st.integers(0, 9),
    seconds=st.floats(0.01, 20),
    occupies=st.sampled_from([(), ("a",), ("b",), ("a", "b")]),
)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(jobs, max_size=60), st.integers(1, 6), st.integers(1, 3), st.randoms(use_true_random=False))
def test_whatever_comes_all_of_it_is_done_and_no_slot_is_left_free_in_vain(
    asked: list[Asked], slots: int, most: int, dice: Random
) -> None:
    weights = {share: dice.randint(1, 9) for share in range(1, 6)}
    limits = {"a": most}
    done = Installation(slots, weights=weights, limits=limits).run(asked)
    assert done.waits.keys() == set(range(len(asked)))
    spans = [(asked[n].at + wait, asked[n].at + wait + asked[n].seconds, asked[n]) for n, wait in done.waits.items()]
    for start, _, _ in spans:
        # A start is its wait added up again: a rounding off from the end of the call before it.
        under_way = [job for began, ends, job in spans if began <= start < ends - 1e-6]
        assert len(under_way) <= slots
        assert sum("a" in job.occupies for job in under_way) <= most
    for number, wait in done.waits.items():
        job = asked[number]
        for moment in (job.at + wait * part for part in (0.25, 0.5, 0.75)):
            if wait > 1e-3:
                busy = [each for began, ends, each in spans if began <= moment < ends + 1e-6]
                taken = sum("a" in each.occupies for each in busy)
                assert len(busy) >= slots or ("a" in job.occupies and taken >= most)


def test_room_is_what_is_left_of_each_limit() -> None:
    assert room_of({"a": 3, "b": 1, "c": 2}, [("a", "b"), ("a",), ("b",)]) == {"a": 1, "b": 0, "c": 2}


def test_calls_under_way_count_for_a_second_at_least_and_idle_shares_begin_at_the_floor() -> None:
    one, two, gone = UUID(int=1), UUID(int=2), UUID(int=3)
    shares = shares_of([(one, 0.2, 2), (one, 8.0, 2), (gone, 1.0, 1)], {one: 7.0}, {one: 2, two: 1}, 5.0)
    assert shares == {one: Share(2, 7.0 + 0.5 + 4.0, 2), two: Share(1, 5.0, 0)}
    behind = shares_of([(one, 1.0, 1)], {one: 2.0}, {one: 1}, 5.0)
    assert behind == {one: Share(1, 3.0, 1)}, "what is under way has not been charged yet, so it is not behind"
