"""What the doctor says of webhooks: nothing while all is well, else what is wrong and what would help."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from commands.webhooks import DisableWebhook, PauseWebhook, RemoveWebhook
from domain.posting import Attempt, Beginning, Posted
from tests.streams.post_office import PostOffice, post_office
from toybox.doctor_webhooks import examine_webhooks
from toybox.findings import Finding

URL = "https://hooks.example.org/in"


@pytest.fixture
async def office(database: str) -> AsyncIterator[PostOffice]:
    async with post_office(database) as made:
        yield made


async def found(office: PostOffice) -> list[Finding]:
    door = SimpleNamespace(deliveries=office.deliveries, secrets=office.secrets)
    return await examine_webhooks(cast("Any", SimpleNamespace(webhooks=door, store=office.store)))


async def test_disabled_ones_dead_letters_and_shut_secrets_are_told_with_their_fixes(office: PostOffice) -> None:
    assert [(each.level, each.said) for each in await found(office)] == [("ok", "none")]
    webhook, _ = await office.subscribe(URL)
    other, _ = await office.subscribe(URL)
    (fine,) = await found(office)
    assert (fine.level, fine.said) == ("ok", "2, each is told or waits for news")
    await office.deliveries.begin(webhook, Beginning(1, 0, 1, 0))
    await office.deliveries.died(webhook, 1, Attempt(1, "a.1", "project.created", 10, Posted(500, "answered 500")))
    (dead, failing) = await found(office)
    assert (dead.level, failing.level) == ("warning", "warning")
    assert f"1 deliveries were given up: {str(webhook)[:8]} (https://hooks.example.org)" in dead.said
    assert "toybox webhooks dead-letters" in str(dead.fix)
    assert "nothing arrives at" in failing.said
    await office.send(DisableWebhook(webhook_id=webhook, reason="failing", detail="answered 500"))
    (disabled, _) = await found(office)
    assert disabled.level == "problem"
    assert "toybox webhooks resume" in str(disabled.fix)
    await office.secrets.destroy([each.secret_id for each in await office.secrets.kept() if each.key_id == other])
    shut = (await found(office))[0]
    assert "toybox webhooks rotate" in str(shut.fix)
    await office.send(PauseWebhook(webhook_id=other))
    for each in (webhook, other):
        await office.send(RemoveWebhook(webhook_id=each))
    assert [each.said for each in await found(office)] == ["none"]
