"""Where requests may go, whatever a name says a moment later; and what is made of every kind of answer."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from adapters.webhooks.addresses import Addresses, networks
from adapters.webhooks.poster import HttpPoster
from domain.errors import Refused
from domain.posting import SAID, Posted
from tests.support.receiver import FINE, Got, Receiver, receiving

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LOOPBACK = networks(["127.0.0.0/8"])


@pytest.fixture
async def receiver(loopback: str) -> AsyncIterator[Receiver]:
    async with receiving(loopback) as made:
        yield made


async def posted(url: str, *allowed: str, seconds: float = 2.0) -> Posted:
    poster = HttpPoster(networks(allowed or ["127.0.0.0/8"]), now=lambda: NOON, whole_seconds=seconds)
    try:
        return await poster.post(url, b"{}", {"webhook-id": "1"})
    finally:
        await poster.aclose()


# --- where it may go ---


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104 -- an address that is refused
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:db8::1",
        "2001:0:7f00:1::1",
    ],
)
async def test_addresses_of_our_own_network_are_refused_whatever_they_are_wrapped_in(address: str) -> None:
    assert not Addresses().may_reach(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(Refused, match="TOYBOX_WEBHOOKS_ALLOW_PRIVATE") as refused:
        await HttpPoster(now=lambda: NOON).check(f"https://{host}/x")
    assert refused.value.code == "webhook_address_private"


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001:831::200e"])
def test_addresses_of_the_world_are_not(address: str) -> None:
    assert Addresses().may_reach(ip_address(address))


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost"])
async def test_other_spellings_of_an_address_are_judged_by_what_they_mean(host: str, loopback: str) -> None:
    with pytest.raises(Refused) as refused:
        await HttpPoster(now=lambda: NOON).check(f"https://{host}/x")
    assert refused.value.code in ("webhook_address_private", "webhook_host_unknown")


async def test_a_network_is_allowed_by_name_and_no_other() -> None:
    poster = HttpPoster(networks(["10.1.0.0/16", "fd00::/8"]), now=lambda: NOON)
    await poster.check("http://10.1.2.3:8080/x")
    await poster.check("https://[fd12::1]/x")
    with pytest.raises(Refused, match="not an address of the open internet"):
        await poster.check("http://10.2.0.1/x")
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/8"):
        networks(["10.1.2.3/16"])


async def test_nothing_goes_unencrypted_into_the_world() -> None:
    with pytest.raises(Refused, match="give an https:// address") as refused:
        await HttpPoster(now=lambda: NOON).check("http://1.1.1.1/x")
    assert refused.value.code == "webhook_unencrypted"


class Rebinding(asyncio.SelectorEventLoop):
    """A name server that says something else each time it is asked."""

    answers: list[str]

    async def getaddrinfo(self, *args: Any, **how: Any) -> Any:
        address = self.answers.pop(0)
        return [(2, 1, 6, "", (address, args[1]))]


def test_a_name_is_looked_up_once_and_what_was_judged_is_connected_to(loopback: str) -> None:
    loop = Rebinding()
    loop.answers = ["127.0.0.1", "169.254.169.254"]

    async def story() -> tuple[Posted, int]:
        async with receiving(loopback) as receiver:
            port = receiver.url.split(":")[2].split("/")[0]
            return await posted(f"http://rebinding.example.org:{port}/x"), len(receiver.got)

    try:
        found, came = loop.run_until_complete(story())
    finally:
        loop.close()
    assert (found.status, came, loop.answers) == (204, 1, ["169.254.169.254"])


def test_a_name_that_means_something_private_later_is_refused_then(loopback: str) -> None:
    loop = Rebinding()
    loop.answers = ["1.1.1.1", "127.0.0.1"]

    async def story() -> Posted:
        poster = HttpPoster(now=lambda: NOON)
        await poster.check("https://rebinding.example.org/x")
        return await poster.post("https://rebinding.example.org/x", b"{}", {})

    try:
        found = loop.run_until_complete(story())
    finally:
        loop.close()
    assert found.status is None
    assert "127.0.0.1, which is not an address of the open internet" in (found.problem or "")


# --- what is made of answers ---


async def test_a_redirect_is_told_and_not_followed(receiver: Receiver) -> None:
    receiver.answers = lambda _: (307, {"Location": receiver.url}, b"") if len(receiver.got) == 1 else FINE
    found = await posted(receiver.url)
    assert found.status == 307
    assert "redirects are not followed" in (found.problem or "")
    assert len(receiver.got) == 1


async def test_what_is_sent_carries_no_more_than_it_must(receiver: Receiver) -> None:
    assert (await posted(receiver.url)).problem is None
    assert receiver.got[0].headers.keys() == {
        "host", "user-agent", "accept", "accept-encoding", "content-length", "webhook-id",
    }  # fmt: skip
    assert receiver.got[0].headers["host"] == receiver.url.split("/")[2]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("Sat, 21 Nov 2026 12:01:00 GMT", 60.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("9" * 400, 1e8),
        ("Sat, 21 Nov 2026 12:01:00 +99999999999999999", None),
        ("Sat, 21 Nov 99999999999999999999 12:01:00 GMT", None),
    ],
)
async def test_how_long_to_wait_is_read_in_seconds_or_as_a_date(
    receiver: Receiver, header: str, seconds: float | None
) -> None:
    receiver.answers = lambda _: (503, {"Retry-After": header}, b"")
    assert (await posted(receiver.url)).retry_after == seconds


async def test_little_is_read_of_an_answer_and_only_what_can_be_shown(receiver: Receiver) -> None:
    receiver.answers = lambda _: (500, {}, b"<b>\x1b[2J\r\n\xff\x00" + "ä".encode() + b"x" * 5_000_000)
    found = await posted(receiver.url)
    assert found.said.startswith("<b> [2J \N{REPLACEMENT CHARACTER} äxxx")
    assert len(found.said) == SAID


async def test_an_answer_whose_words_never_come_counts_all_the_same(receiver: Receiver) -> None:
    async def drip(_: Got) -> Any:
        return (200, {"Content-Length": "99"}, b"")

    receiver.answers = drip
    found = await posted(receiver.url, seconds=10)
    assert (found.status, found.problem) == (200, None)


async def test_silence_ends_at_the_deadline(receiver: Receiver) -> None:
    async def hang(_: Got) -> Any:
        await asyncio.sleep(60)

    receiver.answers = hang
    found = await posted(receiver.url, seconds=0.2)
    assert found.problem == "no answer within 0.2 seconds: answer first, then work"
    assert 150 <= found.milliseconds <= 2000


async def test_a_closed_port_and_a_broken_answer_are_told_in_our_own_words(receiver: Receiver) -> None:
    assert "no connection" in ((await posted("http://127.0.0.1:9/secret-path")).problem or "")
    encrypted = await posted(receiver.url.replace("http://", "https://"))
    assert encrypted.status is None
    assert "secret" not in (encrypted.problem or "")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = await posted(f"http://127.0.0.1:{port}/x")
    assert "broke before an answer came" in (found.problem or "")
