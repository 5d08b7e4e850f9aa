"""What a process that relays to Kafka tells of it: ready or degraded, with the alarm; figures for Prometheus."""

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.app import close_feeds, create_app
from api.routes import health
from streams.relay.state import RelayState
from tests.support.client import Api, problem

HALTED = {"phase": "halted", "alarm": "Kafka is ahead of the log: restore the newer one", "alarm_code": "relay_ahead"}
AWAY = {"phase": "starting", "obstacle": "Kafka is away: start it", "obstacle_code": "broker_away"}


@pytest.fixture
def relay() -> RelayState:
    """A relay that has relayed nothing of what is in the log."""
    return RelayState(phase="relaying", position=0, transactions=3, events=40, last_error="it hung")


def become(state: RelayState, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(state, name, value)


async def relaying(api: Api, state: RelayState, *roles: str) -> None:
    """The same application in a process with a relay."""
    await close_feeds(api.app)
    await api.http.aclose()
    only_probes = [health.router] if "api" not in roles else None
    api.app = create_app(replace(api.services, relay=state, roles=frozenset(roles)), only_probes)
    api.http = api.client(api.owner)


async def test_a_server_that_relays_tells_how_far_it_is(whole_api: Api, relay: RelayState) -> None:
    assert (await whole_api.get("/ready")).json() == {"status": "ready"}
    await relaying(whole_api, relay, "api", "relay")
    head = await whole_api.store.head()
    assert (await whole_api.get("/ready")).json() == {
        "status": "ready",
        "relay": {
            "phase": "relaying", "position": 0, "lag": head, "alarm": None, "last_error": "it hung",
            "transactions": 3, "topics": [],
        },
    }  # fmt: skip


@pytest.mark.parametrize(("trouble", "halted"), [(HALTED, True), (AWAY, False)])
async def test_an_alarm_of_the_relay_is_told_and_leaves_the_api_ready(
    whole_api: Api, relay: RelayState, trouble: dict[str, Any], halted: bool
) -> None:
    become(relay, trouble)
    await relaying(whole_api, relay, "api", "relay")
    told = (await whole_api.get("/ready")).json()
    assert told["status"] == "degraded"
    code = trouble.get("alarm_code") or trouble["obstacle_code"]
    assert told["relay"]["alarm"] == {
        "code": code,
        "halted": halted,
        "text": trouble.get("alarm") or trouble["obstacle"],
    }
    text = (await whole_api.get("/metrics")).text
    assert f'toybox_relay_alarm{{code="{code}",halted="{str(halted).lower()}"}} 1.0' in text


@pytest.mark.parametrize(("trouble", "code"), [(HALTED, "relay_ahead"), (AWAY, "broker_away")])
async def test_a_process_that_only_relays_is_not_ready_while_it_cannot(
    whole_api: Api, relay: RelayState, trouble: dict[str, Any], code: str
) -> None:
    await relaying(whole_api, relay, "relay")
    assert (await whole_api.get("/ready")).json()["status"] == "ready"
    become(relay, trouble)
    said = problem(await whole_api.http.get("/ready"), 503, code)
    assert said["detail"] == (trouble.get("alarm") or trouble["obstacle"])
    assert (await whole_api.get("/health")).json() == {"status": "ok"}


async def test_a_process_that_only_relays_is_ready_once_it_relays_or_stands_by(
    whole_api: Api, relay: RelayState
) -> None:
    await relaying(whole_api, relay, "relay")
    become(relay, {"phase": "starting", "position": None})
    problem(await whole_api.http.get("/ready"), 503, "not_ready")
    become(relay, {"phase": "standby"})
    assert (await whole_api.get("/ready")).json()["relay"]["lag"] is None
    problem(await whole_api.http.get("/api/projects"), 404, "not_found")


async def test_figures_of_the_relay_count_up_and_never_twice(whole_api: Api, relay: RelayState) -> None:
    await relaying(whole_api, relay, "api", "relay")
    become(relay, {"findings": ("toybox.events: retention.ms is 1, not -1: set it",), "last_seconds": 0.25})
    for events in (40, 40, 55):
        relay.events = events
        figures = {
            sample.name: sample.value
            for family in text_string_to_metric_families((await whole_api.get("/metrics")).text)
            for sample in family.samples
            if sample.name.startswith("toybox_relay_") and not sample.labels
        }
        assert figures["toybox_relay_events_total"] == events
        assert figures["toybox_relay_transactions_total"] == 3
        assert figures["toybox_relay_lag_events"] == await whole_api.store.head()
        assert figures["toybox_relay_topic_findings"] == 1
        assert figures["toybox_relay_transaction_seconds"] == 0.25
