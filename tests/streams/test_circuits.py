"""Circuits under random traffic: the real commands, worker's choice and watch; a judge that reads the log alone."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from commands.llm_jobs import CancelLlmJob, LoseAttempt, RequeueLlmJob
from commands.provider_health import ChangeHealthSettings, CloseCircuit, OpenCircuit
from domain.errors import ToyboxError
from domain.kernel import evolve
from domain.llm_jobs import LlmJob
from domain.provider_health import Circuit, HealthRules, ProviderHealth, signals
from domain.values import Target
from streams.dispatcher.targets import Circuits, Way
from streams.provider_health import HealthWatch
from tests.commands.staging import admit, complete, fail, queue
from tests.support.circuits import Judge, unprobed
from tests.support.examples import examples
from tests.support.story import Story

T = TypeVar("T")
ONE = Target(provider="openai", model="small")
LARGE = Target(provider="openai", model="large")
TWO = Target(provider="anthropic", model="small")
CHAINS = [(ONE,), (ONE, TWO), (TWO, ONE), (ONE, LARGE), (LARGE, ONE, TWO)]
HOW_IT_ENDS = st.sampled_from(
    [
        "answered",
        "overloaded",
        "overloaded",
        "timeout",
        "malformed",
        "rate_limited",
        "credit_exhausted",
        "invalid_request",
    ]
)
MOVED_ON = timedelta(minutes=20)
THOROUGH = settings(
    max_examples=examples(50),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
CAUGHT = settings(THOROUGH, max_examples=1_000, phases=[Phase.generate], report_multiple_bugs=False, print_blob=False)
"""It ends with the first catch: luck decides how soon that is, and must not decide whether."""


class NoLeader:
    """Nobody else is there."""

    def leading(self, what: str) -> Any:
        return nullcontext()

    async def check(self, what: str) -> None:
        """Still nobody."""


class Traffic(RuleBasedStateMachine):
    """Jobs, workers that may be out of date, moody providers, an operator, a watch that is replaced now and then."""

    @initialize(all_open=st.sampled_from(["wait", "try"]), minimum=st.integers(3, 5))
    def begin(self, all_open: Any, minimum: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.jobs, self.known, self.seen = list[UUID](), dict[UUID, LlmJob](), 0
        self.judge = Judge(minimum_samples=minimum)
        self.late: list[tuple[UUID, int]] = []
        rules = HealthRules(
            all_open=all_open, minimum_samples=minimum, cooldown_seconds=5, cooldown_longest_seconds=60,
            credit_cooldown_seconds=120, window_seconds=300,
        )  # fmt: skip
        self.do(self.set_up)
        self.send(ChangeHealthSettings(rules=rules))
        self.watch_begins()

    async def set_up(self) -> None:
        self.story = Story()
        self.story.sequencer.start()

    def do(self, step: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return self.loop.run_until_complete(step())

    def send(self, command: Any) -> bool:
        """Whether it was not refused. Whatever happens, the watch hears of it, and the judge looks."""
        try:
            self.do(lambda: self.story.send(command))
        except ToyboxError:
            return False
        finally:
            if hasattr(self, "watch"):
                self.position = self.do(lambda: self.watch.follow(self.position, len(self.story.events)))
            self.look()
        return True

    def look(self) -> None:
        """The judge, and jobs as they are now."""
        new = self.story.events[self.seen :]
        self.seen += len(new)
        self.judge.read(new)
        assert self.judge.faults == []
        for stored in new:
            if stored.type.startswith("llm_job."):
                self.known[stored.stream_id] = evolve(self.known.get(stored.stream_id), stored)

    def states(self, *statuses: str) -> list[LlmJob]:
        return [found for each in self.jobs if (found := self.known[each]).status in statuses]

    # --- what happens ---

    @rule()
    def watch_begins(self) -> None:
        store, commands = self.story.store, self.story.commands
        self.watch = HealthWatch(reader=store, commands=commands, leadership=NoLeader(), now=self.story.clock)
        self.position = self.do(self.watch.begin)

    @rule(chain=st.sampled_from(CHAINS), attempts=st.integers(2, 8))
    def somebody_asks(self, chain: tuple[Target, ...], attempts: int) -> None:
        job = self.story.id(len(self.jobs))
        self.jobs.append(job)
        first, *others = chain
        assert self.send(queue(job, **dict(first), fallbacks=others, max_attempts=attempts))

    @rule(which=st.integers(0, 9), chain=st.sampled_from(CHAINS), how=HOW_IT_ENDS)
    def one_runs(self, which: int, chain: tuple[Target, ...], how: str) -> None:
        """From the queue to its end, in one go."""
        self.somebody_asks(chain, 4)
        if self.admit_as_its_worker_would(self.known[self.jobs[-1]]):
            self.end(self.jobs[-1], self.known[self.jobs[-1]].attempt, how)

    @rule(chain=st.sampled_from(CHAINS), how=HOW_IT_ENDS, count=st.integers(3, 5))
    def a_spell(self, chain: tuple[Target, ...], how: str, count: int) -> None:
        """Several in a row end in the same way."""
        for _ in range(count):
            self.one_runs(0, chain, how)

    @rule(chain=st.sampled_from(CHAINS), seconds=st.sampled_from([0, 6, 130]))
    def a_crowd_comes(self, chain: tuple[Target, ...], seconds: float) -> None:
        """Three at once, after a while; none has ended yet."""
        self.story.clock.advance(seconds)
        for _ in range(3):
            self.somebody_asks(chain, 4)
            self.admit_as_its_worker_would(self.known[self.jobs[-1]])

    @rule(which=st.integers(0, 9), stray=st.none() | st.sampled_from([ONE, LARGE, TWO]))
    def a_worker_takes_one(self, which: int, stray: Target | None) -> None:
        """Where it should go, or wherever a worker that is out of date would send it."""
        waiting = self.states("queued")
        if not waiting:
            return
        job = waiting[which % len(waiting)]
        if stray is None:
            self.admit_as_its_worker_would(job)
        else:
            self.send(admit(job.id, "0.01", job.attempt + 1, **dict(stray), hold_seconds=100))

    def way(self, job: LlmJob) -> Way:
        async def client(_provider: str) -> object:
            return object()

        return self.do(lambda: Circuits().way(job, self.story.store.read_stream, self.story.clock.now, client))

    def admit_as_its_worker_would(self, job: LlmJob) -> bool:
        way = self.way(job)
        if way.wait is not None:
            return False
        went = self.send(admit(job.id, "0.01", job.attempt + 1, **dict(way.target), hold_seconds=100))
        assert went, f"{way.target.label} was free, and the admission refused"
        return True

    @rule(which=st.integers(0, 9), how=HOW_IT_ENDS)
    def one_ends(self, which: int, how: str) -> None:
        running = self.states("running")
        if running:
            job = running[which % len(running)]
            self.end(job.id, job.attempt, how)

    def end(self, job: UUID, attempt: int, how: str) -> None:
        if how == "answered":
            self.send(complete(job, "0.001", attempt))
        else:
            wait = 30.0 if how == "rate_limited" else None
            retryable = how not in ("credit_exhausted", "invalid_request")
            facts: dict[str, Any] = {"kind": how, "retryable": retryable, "retry_after_seconds": wait, "sent": False}
            self.send(fail(job, None, attempt, **facts))

    @rule(which=st.integers(0, 9), cancelled=st.booleans())
    def one_is_given_up(self, which: int, cancelled: bool) -> None:
        running = self.states("running")
        if running:
            job = running[which % len(running)]
            self.late.append((job.id, job.attempt))
            self.send(CancelLlmJob(job_id=job.id) if cancelled else LoseAttempt(job_id=job.id, attempt=job.attempt))

    @rule(how=HOW_IT_ENDS | st.just("cancelled"))
    def a_lost_one_reports(self, how: str) -> None:
        if self.late:
            self.end(*self.late.pop(0), how)

    @rule(seconds=st.sampled_from([0.1, 1, 4, 6, 30, 130, 400]))
    def time_passes(self, seconds: float) -> None:
        self.story.clock.advance(seconds)
        for job in self.states("retrying"):
            self.send(RequeueLlmJob(job_id=job.id))

    @rule(model=st.none() | st.just("small"), close=st.booleans())
    def the_operator_acts(self, model: str | None, close: bool) -> None:
        self.send((CloseCircuit if close else OpenCircuit)(name="openai", model=model))

    # --- in the end ---

    def teardown(self) -> None:
        """All providers are well again: whatever still waits is answered, and every circuit has been probed."""
        if not hasattr(self, "story"):
            return
        try:
            self.get_through()
        finally:
            self.do(self.story.sequencer.stop)
            self.loop.close()

    def get_through(self) -> None:
        for stored in list(self.story.events):
            if stored.type == "provider.circuit_opened" and stored.payload()["cause"] == "operator":
                self.send(CloseCircuit(name="openai", model=stored.payload()["model"]))
        until = self.story.clock.now + MOVED_ON
        while self.story.clock.now < until and self.states("queued", "retrying", "running"):
            for job in self.states("running"):
                self.end(job.id, job.attempt, "answered")
            for job in self.states("queued"):
                if self.admit_as_its_worker_would(self.known[job.id]):
                    self.end(job.id, self.known[job.id].attempt, "answered")
            self.time_passes(10)
        left = [(each.id, each.status) for each in self.states("queued", "retrying", "running")]
        assert left == [], f"these wait for ever: {left}; {unprobed(self.story.events, until, MOVED_ON / 2)}"


def test_random_traffic_never_breaks_a_promise_of_the_circuits() -> None:
    run_state_machine_as_test(Traffic, settings=THOROUGH)


def _never(*_: object, **__: object) -> bool:
    return False


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("bug", "caught"),
    [
        (lambda: patch.object(Circuit, "lets_probe", _never), "wait for ever"),
        (lambda: patch.object(Circuit, "is_probed", _never), "two probes"),
        (lambda: patch.object(signals, "FAILURES", signals.FAILURES | {"rate_limited"}), "opened after"),
        (lambda: patch.object(ProviderHealth, "circuits_of", lambda *_: {}), "let through"),
        (lambda: patch.object(HealthRules, "rest", lambda *_, **__: timedelta(days=1)), "wait for ever"),
    ],
    ids=[
        "never half-opens",
        "two probes at once",
        "429 counts as a failure",
        "lets everybody through",
        "rests for ever",
    ],
)
def test_a_planted_bug_is_caught(bug: Callable[[], Any], caught: str) -> None:
    with bug(), pytest.raises(AssertionError, match=caught):
        run_state_machine_as_test(Traffic, settings=CAUGHT)


async def test_when_every_target_is_open_the_rule_says_whether_the_last_one_is_tried(story: Story) -> None:
    async def client(_provider: str) -> object:
        return object()

    async def way() -> Way:
        job = story.state(LlmJob, story.id(1))
        return await Circuits().way(job, story.store.read_stream, story.clock.now, client)

    for policy in ("wait", "try"):
        rules = HealthRules(all_open=policy, credit_cooldown_seconds=100)
        await story.given(ChangeHealthSettings(rules=rules))
        for number, target in enumerate((ONE, TWO)):
            job = story.id(policy, number)
            await story.given(queue(job, **dict(target)), admit(job, "0.01", **dict(target)))
            await story.given(fail(job, kind="credit_exhausted", retryable=False, sent=False))
        if policy == "wait":
            await story.given(queue(story.id(1), **dict(ONE), fallbacks=[TWO]))
            assert (await way()).wait is not None
            story.clock.advance(60)
            assert (await way()).wait is not None, "it waits, and burns no attempt"
            await story.given(CloseCircuit(name="openai"), CloseCircuit(name="anthropic"))
    found = await way()
    assert (found.target, found.wait) == (TWO, None), "the last one, at once"
    await story.when(admit(story.id(1), "0.01", **dict(TWO), hold_seconds=100))
    rerouted, half_opened = (
        next(each.payload() for each in story.events[-6:] if each.type == kind)
        for kind in ("llm_job.rerouted", "provider.circuit_half_opened")
    )
    assert rerouted["kind"] == "circuit_open"
    assert half_opened["last_resort"] is True
    other = story.id(2)
    await story.given(queue(other, **dict(ONE), fallbacks=[TWO]))
    job = story.state(LlmJob, other)
    assert (await Circuits().way(job, story.store.read_stream, story.clock.now, client)).wait is not None, (
        "one at a time"
    )
    await story.given(complete(story.id(1), None))
    assert (await Circuits().way(job, story.store.read_stream, story.clock.now, client)).target == TWO
