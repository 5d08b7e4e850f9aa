"""What a process tells of those who work with Kafka in it: products, views, reactions; an alarm makes it degraded."""

from dataclasses import replace

import pytest

from api.app import close_feeds, create_app
from api.consuming import Duty
from streams.partitioned.state import ConsumptionState
from streams.products.progress import ProductsState
from tests.support.client import Api

GAP = "position 7 is missing before 9 on partition 3: rebuild it"


async def doing(api: Api, **duties: Duty) -> None:
    """The same application in a process that does these."""
    await close_feeds(api.app)
    await api.http.aclose()
    api.app = create_app(replace(api.services, duties=duties))
    api.http = api.client(api.owner)


async def test_what_works_with_kafka_is_told_beside_the_rest(whole_api: Api) -> None:
    views = ConsumptionState(phase="following", last_error="Kafka was away", foreign=2, starts=3)
    await doing(whole_api, products=ProductsState(phase="publishing", transactions=4, states=9), views=views)
    assert (await whole_api.get("/ready")).json() == {
        "status": "ready",
        "products": {
            "phase": "publishing", "alarm": None, "last_error": None, "transactions": 4, "states": 9, "tombstones": 0,
        },
        "views": {
            "phase": "following", "alarm": None, "last_error": "Kafka was away", "foreign": 2, "starts": 3,
        },
    }  # fmt: skip
    text = (await whole_api.get("/metrics")).text
    assert 'toybox_kafka_duty_phase{duty="views",phase="following"} 1.0' in text
    assert 'toybox_kafka_duty_phase{duty="views",phase="waiting"} 0.0' in text
    assert 'toybox_kafka_duty_count{duty="views",what="foreign"} 2.0' in text
    assert "toybox_kafka_duty_alarm{" not in text


@pytest.mark.parametrize(
    ("state", "alarm"),
    [
        (ConsumptionState(phase="starting", obstacle="away: start it"), ("waiting", False, "away: start it")),
        (ConsumptionState(phase="following", alarm="a stranger"), ("look", False, "a stranger")),
        (ConsumptionState(phase="halted", alarm=GAP), ("halted", True, GAP)),
    ],
)
async def test_an_alarm_is_told_and_leaves_the_api_ready(
    whole_api: Api, state: ConsumptionState, alarm: tuple[str, bool, str]
) -> None:
    code, halted, text = alarm
    await doing(whole_api, reactions=state)
    told = (await whole_api.get("/ready")).json()
    assert told["status"] == "degraded"
    assert told["reactions"]["alarm"] == {"code": code, "halted": halted, "text": text}
    ringing = f'toybox_kafka_duty_alarm{{code="{code}",duty="reactions",halted="{str(halted).lower()}"}} 1.0'
    assert ringing in (await whole_api.get("/metrics")).text
    state.alarm = None
    state.follow()
    assert (await whole_api.get("/ready")).json()["status"] == "ready"
    assert ringing not in (await whole_api.get("/metrics")).text
