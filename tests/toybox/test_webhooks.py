"""Webhooks of a running server: a budget's threshold reaches somebody, a server that is killed loses nothing."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from standardwebhooks.webhooks import Webhook as IndependentVerifier

from adapters.postgres.embedded import running_conninfo
from streams.envelope import unseal
from tests.support.receiver import FINE, Answer, Got, Receiver, receiving, verified
from tests.toybox.planting import leaks
from tests.toybox.programs import Toybox, wait_for
from toybox.client import Client

pytestmark = pytest.mark.process
ALLOWED = "127.0.0.0/8"


class OnThisMachine(Toybox):
    """The program, allowed to post to this machine, with every line of its log."""

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(
            TOYBOX_LOG_LEVEL="debug", TOYBOX_LOG_FORMAT="json", TOYBOX_WEBHOOKS_ALLOW_PRIVATE=ALLOWED, **more
        )


@contextmanager
def listening() -> Iterator[Receiver]:
    """A receiver in a thread of its own."""
    loop, ready, stop, found = asyncio.new_event_loop(), threading.Event(), asyncio.Event(), list[Receiver]()

    async def serve() -> None:
        async with receiving() as receiver:
            found.append(receiver)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as made:
        yield made


def everything(program: Toybox) -> dict[str, bytes]:
    """All that was ever written down, but for the sealed secrets themselves."""
    conninfo = running_conninfo(program.data_dir)
    assert conninfo
    surfaces = {"log": program.log.read_bytes()}
    with psycopg.connect(conninfo) as connection:
        names = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for (name,) in names:
            rows = connection.execute(f'select t::text from "{name}" t'.encode()).fetchall()
            surfaces[f"table {name}"] = "\n".join(row[0] for row in rows).encode()
    return surfaces


def test_a_budget_that_runs_low_tells_whoever_asked_to_be_told(data_home: Path, receiver: Receiver) -> None:
    toybox = OnThisMachine(data_home)
    with toybox.up():
        added = toybox("webhooks", "add", receiver.url, "-t", "budget.threshold_crossed", "--description", "On call")
        secret = added.out.strip().splitlines()[-1]
        assert secret.startswith("whsec_")
        (hook,) = toybox("webhooks", "--json").json
        webhook = hook["id"][:8]
        assert "answered 204" in toybox("webhooks", "test", webhook).out
        with Client(toybox.address["url"], (toybox.data_dir / "owner.key").read_text().strip()) as client:
            client.post("/api/budgets", {"scope": {"kind": "global"}, "limit": "0.01", "thresholds": [1, 2]})
        toybox("run", str(toybox.blueprint), "--approve", "auto", "--name", "spender")
        wait_for(lambda: len(receiver.got) > 1)
        got = receiver.got[1]
        assert verified(got, secret)
        IndependentVerifier(secret).verify(got.body, dict(got.headers))
        assert got.event["type"].startswith("toybox.budget.threshold_crossed.v")
        assert got.event["data"]["percent"] == 1
        assert unseal(got.body).event.position == got.position
        (tail,) = [
            each
            for each in toybox("tail", "--json", "--type", "budget.threshold_crossed", "--no-follow").json
            if each["position"] == got.position
        ]
        assert tail["type"] == "budget.threshold_crossed"

        surfaces = everything(toybox)
        assert leaks(surfaces, [secret]) == []
        assert b"s3cr3t-path" not in b"".join(surfaces.values())
        assert {"table webhook_secrets", "table events", "table webhook_attempts", "log"} <= surfaces.keys()


def test_a_webhook_is_looked_after_from_the_command_line(data_home: Path, receiver: Receiver) -> None:
    toybox = OnThisMachine(data_home)
    with toybox.up():
        added = toybox("webhooks", "add", receiver.url, "-t", "project.*", "--json").json[0]
        webhook, secret = added["id"][:8], added["secret"]
        toybox("run", str(toybox.blueprint), "--approve", "auto", "--name", "one")
        wait_for(lambda: toybox("webhooks", "--json").json[0]["deliveries"]["delivered"] >= 1)
        # Replayed under the same ids.
        first, seen = receiver.got[0], len(receiver.got)
        toybox("webhooks", "replay", webhook, "--from", "0")
        wait_for(lambda: first.id in [each.id for each in receiver.got[seen:]])
        rotated = toybox("webhooks", "rotate", webhook, "--overlap", "600").out.strip().splitlines()[-1]
        receiver.answers = lambda _: (410, {}, b"no more")
        assert "answered 410 (no more)" in toybox("webhooks", "test", webhook, code=1).out
        assert verified(receiver.got[-1], rotated)
        assert verified(receiver.got[-1], secret)
        toybox("webhooks", "replay", webhook, "--from", "0")
        wait_for(lambda: toybox("webhooks", "--json").json[0]["status"] == "disabled")
        shown = toybox("webhooks", "show", webhook).out
        assert "gone: it answered 410" in shown
        doctor = toybox("doctor", code=1).out
        assert f"disabled: {webhook}" in doctor
        assert "toybox webhooks resume" in doctor
        assert "410" in toybox("webhooks", "deliveries", webhook).out
        assert "nothing was given up" in toybox("webhooks", "dead-letters", webhook).err
        receiver.answers = lambda _: FINE
        toybox("webhooks", "resume", webhook)
        toybox("webhooks", "dead-letters", webhook, "--requeue")
        toybox("webhooks", "change", webhook, "--type", "budget.*")
        toybox("webhooks", "pause", webhook)
        assert "is active" not in toybox("webhooks", "show", webhook).out
        for words, fix in (
            (("webhooks", "add", "https://10.0.0.1/x", "-t", "*"), "TOYBOX_WEBHOOKS_ALLOW_PRIVATE"),
            (("webhooks", "add", receiver.url, "-t", "budget.treshold_crossed"), "did you mean"),
            (("webhooks", "show", "0000"), "toybox webhooks lists them"),
        ):
            assert fix in toybox(*words, code=3).last_words
        assert leaks(everything(toybox), [secret, rotated]) == []
        toybox("webhooks", "remove", webhook)
        assert toybox("webhooks").err.startswith("nobody is told of anything")


def test_a_server_that_is_killed_in_the_middle_of_a_delivery_tells_it_again(
    data_home: Path, receiver: Receiver
) -> None:
    toybox = OnThisMachine(data_home)
    hang = True

    async def answer(_: Got) -> Answer:
        if hang:
            await asyncio.sleep(60)
        return FINE

    receiver.answers = answer
    with toybox.up() as process:
        toybox("webhooks", "add", receiver.url, "-t", "project.*")
        for name in ("one", "two"):
            toybox("run", str(toybox.blueprint), "--approve", "auto", "--name", name)
        wait_for(lambda: len(receiver.got) == 1)
        process.kill()
        process.wait()
    hang = False
    with toybox.up():
        wanted = [each["position"] for each in toybox("tail", "--json", "--type", "project.*", "--no-follow").json]
        wait_for(lambda: len(set(receiver.positions)) == len(wanted))
    assert receiver.positions == [wanted[0], *wanted]
    assert receiver.got[0].id == receiver.got[1].id
