"""Deliveries to webhooks: signed, in order, at least once, whatever the receivers do and whenever the worker dies."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from standardwebhooks.webhooks import Webhook as IndependentVerifier

from commands.webhooks import (
    ChangeWebhook,
    PauseWebhook,
    RemoveWebhook,
    ReplayWebhook,
    RequeueWebhookDeliveries,
    ResumeWebhook,
)
from domain.log import StoredEvent
from streams.envelope import id_of, unseal
from streams.webhooks import Courier
from tests.streams.post_office import QUICK, PostOffice, post_office
from tests.support.receiver import FINE, Answer, Got, Receiver, receiving, verified


@pytest.fixture
async def office(database: str) -> AsyncIterator[PostOffice]:
    async with post_office(database) as made:
        yield made


@pytest.fixture
async def receiver(loopback: str) -> AsyncIterator[Receiver]:
    async with receiving(loopback) as made:
        yield made


async def test_what_is_sent_is_the_event_as_on_kafka_signed_so_that_anybody_can_verify_it(
    office: PostOffice, receiver: Receiver
) -> None:
    _, secret = await office.subscribe(receiver.url)
    async with office.open():
        (position,) = await office.happen()
        await receiver.until(lambda it: len(it.got) == 1)
    (got,) = receiver.got
    assert verified(got, secret)
    assert not verified(replace(got, body=got.body + b" "), secret)
    IndependentVerifier(secret).verify(got.body, dict(got.headers))
    (stored,) = await office.events("project.created")
    assert unseal(got.body).event == stored, "one parser reads both"
    assert (got.position, got.id, got.event["id"]) == (position, id_of(stored), id_of(stored))
    assert got.headers["content-type"].startswith("application/cloudevents+json")
    assert got.path == "/hook?token=s3cr3t-path"
    assert not [each for each in await office.events() if b"s3cr3t" in each.data or secret[6:].encode() in each.data]


async def test_only_what_was_asked_for_is_sent_and_nothing_private(office: PostOffice, receiver: Receiver) -> None:
    first, *_ = await office.happen()
    project = (await office.events("project.created"))[0].project_id
    await office.subscribe(receiver.url, "project.created", project_id=project, from_position=0)
    async with receiving() as other:
        everything, _ = await office.subscribe(other.url, "*", from_position=0)
        async with office.open():
            await office.happen(3)
            head = await office.store.head()
            await office.until(everything, position=head)
            await receiver.until(lambda it: len(it.got) == 1)
        assert other.positions == list(range(1, head + 1))
    assert receiver.positions == [first]


async def test_events_come_in_order_each_once_never_two_at_a_time(office: PostOffice, receiver: Receiver) -> None:
    webhook, _ = await office.subscribe(receiver.url)

    async def slowly(_: Got) -> Answer:
        await asyncio.sleep(0.002)
        return FINE

    receiver.answers = slowly
    before = await office.happen(30)
    async with office.open(pace=replace(QUICK, window=5)):
        after = await office.happen(60)  # more than wait in memory: it must go back to the log in between
        await office.until(webhook, delivered=90)
    assert receiver.positions == before + after
    assert receiver.most_at_once == 1


async def test_what_fails_is_tried_again_with_growing_pauses_and_nothing_overtakes_it(
    office: PostOffice, receiver: Receiver
) -> None:
    webhook, _ = await office.subscribe(receiver.url)
    fails = [500, 404, 302]
    receiver.answers = lambda _: (fails.pop(0), {}, b"No \x1b[31mthanks\x00.") if fails else FINE
    async with office.open() as postman:
        one, two = await office.happen(2)
        standing = await office.until(webhook, delivered=2)
    assert (postman.tally.tries, postman.tally.due) == ({"delivered": 2, "failed": 3, "dead": 0}, {})
    assert receiver.positions == [one, one, one, one, two]
    assert (standing.failing_since, standing.attempts) == (None, 0)
    past = list(reversed(await office.deliveries.attempts(webhook, before=None, limit=10)))
    assert [(each.number, each.outcome, each.status) for each in past] == [
        (1, "failed", 500),
        (2, "failed", 404),
        (3, "failed", 302),
        (4, "delivered", 204),
        (1, "delivered", 204),
    ]
    assert past[0].said == "No [31mthanks ."
    assert "redirects are not followed" in (past[2].problem or "")


async def test_a_receiver_that_asks_for_time_is_given_it(office: PostOffice, receiver: Receiver) -> None:
    webhook, _ = await office.subscribe(receiver.url)
    receiver.answers = lambda _: (429, {"Retry-After": "3600"}, b"")
    async with office.open() as postman:
        (waiting,) = await office.happen()
        standing = await office.until(webhook, attempts=1)
        (due,) = await office.store.read(waiting - 1, 1)
        assert postman.tally.due == {webhook: due.recorded_at}
    assert postman.tally.due == {}, "another process may have it now"
    assert standing.next_try_at
    assert timedelta(minutes=59) < standing.next_try_at - office.now() < timedelta(minutes=61)
    async with office.open():  # and it is remembered by whoever comes next
        await asyncio.sleep(0.3)
        assert len(receiver.got) == 1
        receiver.answers = lambda _: FINE
        await office.send(ChangeWebhook(webhook_id=webhook, description="Mended."))
        await office.until(webhook, delivered=1)


async def test_after_the_last_try_a_delivery_is_kept_as_a_dead_letter_and_the_next_goes_on(
    office: PostOffice, receiver: Receiver
) -> None:
    webhook, _ = await office.subscribe(receiver.url)
    poison, good, worse = await office.happen(3)
    receiver.answers = lambda got: (422, {}, b"never") if got.position in (poison, worse) else FINE
    async with office.open() as postman:
        standing = await office.until(webhook, dead_letters=2, delivered=1)
        assert receiver.positions == [poison] * QUICK.tries + [good] + [worse] * QUICK.tries
        assert standing.position == worse
        letters = await office.deliveries.dead_letters(webhook, after=0, limit=10)
        assert [(each.position, each.attempts, each.status, each.said) for each in letters] == [
            (poison, QUICK.tries, 422, "never"),
            (worse, QUICK.tries, 422, "never"),
        ]
        # Tried again when asked to: one arrives, the other is dead once more.
        receiver.answers = lambda got: (422, {}, b"") if got.position == worse else FINE
        await office.send(RequeueWebhookDeliveries(webhook_id=webhook))
        await office.until(webhook, dead_letters=1, delivered=2)
        await receiver.until(lambda it: it.positions[-2:] == [poison, worse])
        receiver.answers = lambda _: FINE
        await office.send(RequeueWebhookDeliveries(webhook_id=webhook, position=worse))
        await office.until(webhook, dead_letters=0, delivered=3)
        tries = postman.tally.tries
        assert (tries["delivered"], tries["dead"]) == (3, 3)
    seen = len(receiver.got)
    async with office.open():  # a requeue is acted upon once
        (last,) = await office.happen()
        await office.until(webhook, position=last)
    assert receiver.positions[seen:] == [last]


async def test_a_replay_sends_everything_from_a_position_again_under_the_same_ids(
    office: PostOffice, receiver: Receiver
) -> None:
    webhook, _ = await office.subscribe(receiver.url)
    positions = await office.happen(4)
    async with office.open():
        await office.until(webhook, delivered=4)
        await office.send(ReplayWebhook(webhook_id=webhook, from_position=positions[2]))
        await office.until(webhook, delivered=6)
    assert receiver.positions == positions + positions[2:]
    assert [each.id for each in receiver.got[2:4]] == [each.id for each in receiver.got[4:]]
    async with office.open():
        (new,) = await office.happen()
        await office.until(webhook, delivered=7)
    assert receiver.positions[-2:] == [positions[3], new], "a replay is acted upon once"


async def test_while_a_secret_is_replaced_both_sign_and_then_the_old_one_is_erased(
    office: PostOffice, receiver: Receiver
) -> None:
    webhook, old = await office.subscribe(receiver.url)
    new = await office.rotate(webhook, overlap=60)
    async with office.open():
        await office.happen()
        await receiver.until(lambda it: len(it.got) == 1)
        assert len(receiver.got[0].headers["webhook-signature"].split(" ")) == 2
        assert verified(receiver.got[0], old)
        assert verified(receiver.got[0], new)
        office.ahead = timedelta(seconds=61)
        await office.happen()
        await receiver.until(lambda it: len(it.got) == 2)
        assert verified(receiver.got[1], new)
        assert not verified(receiver.got[1], old)
        await office.secrets_kept(1)
        await office.send(RemoveWebhook(webhook_id=webhook))
        await office.secrets_kept(0)
    assert await office.deliveries.standings() == {}


async def test_a_receiver_that_hangs_holds_up_nobody_else(office: PostOffice, receiver: Receiver) -> None:
    stuck, _ = await office.subscribe(receiver.url)
    for_ever = asyncio.Event()

    async def hang(_: Got) -> Answer:
        await for_ever.wait()
        return FINE

    receiver.answers = hang
    async with receiving() as other, office.open(whole_seconds=4.0):
        quick, _ = await office.subscribe(other.url)
        started = asyncio.get_running_loop().time()
        await office.happen(20)
        await office.until(quick, delivered=20)
        assert asyncio.get_running_loop().time() - started < 4.0, "it has waited for the one that hangs"
        await office.until(stuck, attempts=1)
        past = await office.deliveries.attempts(stuck, before=None, limit=1)
    assert "no answer within 4 seconds" in (past[0].problem or "")


async def test_what_is_paused_waits_in_the_log(office: PostOffice, receiver: Receiver) -> None:
    webhook, _ = await office.subscribe(receiver.url)
    async with office.open():
        (one,) = await office.happen()
        await office.until(webhook, delivered=1)
        await office.send(PauseWebhook(webhook_id=webhook))
        missed = await office.happen(3)
        await asyncio.sleep(0.2)
        assert receiver.positions == [one]
        await office.send(ResumeWebhook(webhook_id=webhook))
        await office.until(webhook, delivered=4)
    assert receiver.positions == [one, *missed]


@pytest.mark.parametrize(("status", "reason"), [(410, "gone"), (500, "failing")])
async def test_one_that_is_gone_or_fails_for_too_long_is_disabled_until_somebody_resumes_it(
    office: PostOffice, receiver: Receiver, status: int, reason: str
) -> None:
    webhook, _ = await office.subscribe(receiver.url)
    receiver.answers = lambda _: (status, {}, b"")
    async with office.open(pace=replace(QUICK, tries=1000, disable_seconds=0.3)):
        one, two = await office.happen(2)
        disabled = await office.happened("webhook.disabled")
        assert disabled.payload()["reason"] == reason
        assert disabled.stream_id == webhook
        assert (status == 500) == (len(receiver.got) > 1)
        await asyncio.sleep(0.2)
        seen = len(receiver.got)
        await asyncio.sleep(0.2)
        assert len(receiver.got) == seen, "it is told nothing more"
        receiver.answers = lambda _: FINE
        await office.send(ResumeWebhook(webhook_id=webhook))
        await office.until(webhook, delivered=2)
    assert receiver.positions[-2:] == [one, two], "nothing is lost meanwhile"


async def test_where_nothing_is_to_be_delivered_the_place_moves_on_all_the_same(
    office: PostOffice, receiver: Receiver
) -> None:
    webhook, _ = await office.subscribe(receiver.url, "budget.threshold_crossed")
    async with office.open():
        positions = await office.happen(5)
        await office.until(webhook, position=positions[-1])
    assert not receiver.got


async def test_old_tries_are_pruned_also_where_no_worker_lives_for_long(office: PostOffice, receiver: Receiver) -> None:
    webhook, _ = await office.subscribe(receiver.url)
    for life in range(1, 4):
        async with office.open(pace=replace(QUICK, kept_attempts=2)):
            await office.happen(2)
            await office.until(webhook, delivered=2 * life)
    assert len(await office.deliveries.attempts(webhook, before=None, limit=100)) <= 4


class Lingering(Courier):
    """Takes a moment to end, as one does whose statement is cancelled on the server."""

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            await asyncio.sleep(0.3)


async def test_deliveries_stop_when_they_are_told_to_while_a_webhook_is_taken_up_anew(
    office: PostOffice, receiver: Receiver
) -> None:
    webhook, _ = await office.subscribe(receiver.url)
    async with asyncio.timeout(10), office.open(courier=Lingering):
        await office.happen()
        await receiver.until(lambda it: len(it.got) == 1)
        await office.send(PauseWebhook(webhook_id=webhook))
        await asyncio.sleep(0.15)


async def test_letters_that_were_requeued_to_a_receiver_that_is_gone_are_not_sent_one_by_one(
    office: PostOffice, receiver: Receiver
) -> None:
    webhook, _ = await office.subscribe(receiver.url)
    async with office.open(pace=replace(QUICK, tries=1)):
        receiver.answers = lambda _: (500, {}, b"")
        await office.happen(3)
        await office.until(webhook, dead_letters=3)
        receiver.answers = lambda _: (410, {}, b"")
        seen = len(receiver.got)
        await office.send(RequeueWebhookDeliveries(webhook_id=webhook))
        disabled = await office.happened("webhook.disabled")
    assert disabled.payload()["reason"] == "gone"
    assert len(receiver.got) == seen + 1
    assert (await office.standing(webhook)).dead_letters == 3


# --- a worker that dies in the middle ---


class TooEarly(Courier):
    """The bug to be caught: the place moves on before the receiver has answered."""

    async def _deliver(self, stored: StoredEvent) -> None:
        await self._bag.deliveries.passed({self._id: (self._fence, stored.position)})
        await super()._deliver(stored)


async def lost(office: PostOffice, receiver: Receiver, courier: type[Courier]) -> list[int]:
    """Deliver with workers that end in the middle of a request, again and again; what never arrived."""
    webhook, _ = await office.subscribe(receiver.url)
    positions = await office.happen(12)
    arrived: list[int] = []
    answering = asyncio.Event()

    async def answer(got: Got) -> Answer:
        if len(receiver.got) % 3:
            answering.set()
            await asyncio.sleep(60)
        arrived.append(got.position)
        return FINE

    receiver.answers = answer
    for _ in range(60):
        answering.clear()
        async with office.open(courier=courier):
            waits = {
                asyncio.create_task(answering.wait()),
                asyncio.create_task(office.until(webhook, position=positions[-1])),
            }
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        if (await office.standing(webhook)).position >= positions[-1]:
            break
    firsts = list(dict.fromkeys(arrived))
    assert firsts == sorted(firsts)
    return sorted(set(positions) - set(arrived))


async def test_a_worker_that_dies_in_the_middle_of_a_delivery_loses_nothing(
    office: PostOffice, receiver: Receiver
) -> None:
    assert await lost(office, receiver, Courier) == []


async def test_a_place_that_moves_before_the_answer_is_caught(office: PostOffice, receiver: Receiver) -> None:
    assert await lost(office, receiver, TooEarly) != []
