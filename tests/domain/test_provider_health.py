"""What outcomes say: moving averages, levels with slack, one model told from the whole provider, cool-downs."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import kernel
from domain.errors import Refused
from domain.provider_health import Circuit, HealthRules, Outcome, Probe, ProviderHealth, Signal, Window, judged
from domain.values import derived_id

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
RULES = HealthRules()


def window(said: str, *, model: str = "small", latency: int = 100, at: datetime = NOW) -> Window:
    """One outcome for each letter: `.` answered, `x` failed; a capital is another model's."""
    made = Window()
    for position, letter in enumerate(said, 1):
        which = "large" if letter in "XO" else model
        made.add(Outcome(which, letter in ".O", latency if letter in ".O" else None, at, position))
    return made


def test_the_error_average_is_weighted_towards_the_newest() -> None:
    rates = [Signal.of(window(said).outcomes, RULES.alpha).error_rate for said in ("x", "xx", "xxx", "xxxx", "xxxx.")]
    assert rates == [Decimal(each) for each in ("0.2", "0.36", "0.488", "0.5904", "0.47232")]
    assert Signal.of([], RULES.alpha) == Signal()


def test_latency_is_that_of_answers() -> None:
    made = window("..x", latency=100)
    made.add(Outcome("small", True, 600, NOW, 4))
    assert Signal.of(made.outcomes, RULES.alpha).latency_ms == 200


@pytest.mark.parametrize(
    ("said", "level"),
    [
        (".", "healthy"),
        ("x", "healthy"),
        ("xx", "degraded"),
        ("xxx", "degraded"),
        ("xxxx", "failing"),
        ("...xxx", "degraded"),
    ],
)
def test_levels_follow_the_error_average(said: str, level: str) -> None:
    assert window(said).finding(NOW, RULES, "healthy").level == level


def test_the_way_back_has_slack() -> None:
    signal = window("xx..").finding(NOW, RULES, "degraded")
    assert signal.signal.error_rate < RULES.degraded_at
    assert signal.level == "degraded"
    assert window("xx..........").finding(NOW, RULES, "degraded").level == "healthy"


def test_a_slow_provider_is_degraded_where_somebody_says_what_slow_is() -> None:
    slow = RULES.model_copy(update={"slow_ms": 5_000})
    assert window("...", latency=9_000).finding(NOW, slow, "healthy").level == "degraded"
    assert window("...", latency=9_000).finding(NOW, RULES, "healthy").level == "healthy"


def test_one_model_fails_alone_where_another_goes_on_answering() -> None:
    found = window("OOOOxxxx").finding(NOW, RULES, "healthy")
    assert (found.model, found.level) == ("small", "failing")
    found = window("XXXXxxxx").finding(NOW, RULES, "healthy")
    assert (found.model, found.level) == (None, "failing")
    found = window("xxxxOOO").finding(NOW, RULES, "healthy")
    assert found.level == "degraded"


def test_one_models_failures_are_the_providers_where_nobody_else_was_asked_lately() -> None:
    made = window("OOOO", at=NOW - timedelta(seconds=RULES.window_seconds + 1))
    for position in range(5, 9):
        made.add(Outcome("small", False, None, NOW, position))
    found = made.finding(NOW, RULES, "healthy")
    assert (found.model, found.level, found.signal.samples, found.through) == (None, "failing", 4, 8)


def test_failures_of_several_models_are_the_providers_before_one_alone_has_enough() -> None:
    found = window("xXxX").finding(NOW, RULES, "healthy")
    assert (found.model, found.level) == (None, "failing")
    mixed = window("OXOXxxxx").finding(NOW, RULES, "healthy")
    assert (mixed.model, mixed.level) == (None, "failing")


def test_few_failures_of_one_model_degrade_a_provider_whose_others_answer() -> None:
    quick = RULES.model_copy(update={"alpha": Decimal("0.5")})
    found = window("OOxx").finding(NOW, quick, "healthy")
    assert found.signal.error_rate > RULES.open_at
    assert (found.model, found.level) == (None, "degraded")


def test_nobody_begins_a_probe_that_may_not() -> None:
    token = kernel.NOW.set(NOW)
    try:
        health = ProviderHealth(id=derived_id("health"), name="openai")
        health.open_by_hand(None, None)
        with pytest.raises(Refused, match="open"):
            health.begin_probe("small", derived_id(1), derived_id(2), expires_at=NOW, now=NOW, last_resort=False)
    finally:
        kernel.NOW.reset(token)


def test_what_was_before_a_circuit_closed_is_forgotten() -> None:
    made = window("OOxxxx")
    made.forget("small")
    assert [each.model for each in made.outcomes] == ["large", "large"]
    made.forget(None)
    assert not made.outcomes


def test_failures_are_told_apart() -> None:
    assert [judged(kind) for kind in ("overloaded", "rate_limited", "refused")] == [False, None, True]


@given(st.text("x.XO", min_size=65, max_size=90))
def test_a_window_read_from_anywhere_finds_the_same(said: str) -> None:
    late = window(said[-64:])
    whole = window(said).finding(NOW, RULES, "healthy")
    found = late.finding(NOW, RULES, "healthy")
    assert (found.level, found.signal) == (whole.level, whole.signal)


@given(openings=st.integers(1, 60), salt=st.text(max_size=5), credit=st.booleans())
def test_a_cool_down_doubles_is_bounded_and_is_the_same_whenever_it_is_asked_for(
    openings: int, salt: str, credit: bool
) -> None:
    rest = RULES.rest(openings, salt, credit=credit)
    step = 900 if credit else min(10 * 2 ** (openings - 1), 300)
    assert step * 0.75 <= rest.total_seconds() <= step
    assert rest == RULES.rest(openings, salt, credit=credit)


def test_a_circuit_says_how_it_stands() -> None:
    circuit = Circuit(cause="errors", openings=1, retry_at=NOW, all_open="wait")
    assert (circuit.state(NOW), circuit.lets_probe(NOW), circuit.blocked_until(NOW)) == ("open", True, NOW)
    ids = {"attempt_id": derived_id(1), "job_id": derived_id(2)}
    probed = circuit.model_copy(update={"probe": Probe(**ids, expires_at=NOW + timedelta(seconds=9))})
    assert (probed.state(NOW), probed.lets_probe(NOW)) == ("half_open", False)
    assert probed.blocked_until(NOW) == NOW + timedelta(seconds=9)
    assert probed.lets_probe(NOW + timedelta(seconds=9))
