"""Which addresses may be posted to: the world's, and those of our own network that somebody allowed by name."""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from domain.errors import Refused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
SETTING = "TOYBOX_WEBHOOKS_ALLOW_PRIVATE"
RESOLVE_SECONDS = 5.0
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_MOST = 8
"""Addresses of one host that are considered."""


class Addresses:
    """Judges where a request may go. The address that was judged is the one that is connected to."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def is_allowed(self, address: Address) -> bool:
        """Whether somebody named a network that holds it."""
        return any(each.version == address.version and address in each for each in self._allowed)

    def may_reach(self, address: Address) -> bool:
        """Whether it belongs to the world, whatever it is wrapped in, or is allowed."""
        return self.is_allowed(address) or all(_of_the_world(each) for each in (address, *_within(address)))

    async def resolve(self, host: str, port: int, *, clear: bool) -> list[Address]:
        """Where a host may be reached, its name looked up once; Refused, with the fix, where it may not be.

        `clear`: for requests without encryption, which go to allowed networks alone.
        """
        found = await self._found(host, port)
        usable = [each for each in found if (self.is_allowed(each) if clear else self.may_reach(each))]
        if usable:
            return usable
        shown = ", ".join(str(each) for each in found)
        if not any(self.may_reach(each) for each in found):
            raise Refused(
                f"{host} is {shown}, which is not an address of the open internet: webhooks do not go into private "
                f"networks unless the setting {SETTING} names them, for instance {SETTING}={_net(found[0])}",
                code="webhook_address_private",
            )
        raise Refused(
            f"http:// would send events unencrypted to {host} ({shown}): give an https:// address, or name its network "
            f"in {SETTING}",
            code="webhook_unencrypted",
        )

    async def _found(self, host: str, port: int) -> list[Address]:
        bare = host.strip("[]")
        try:
            return [ip_address(bare)]
        except ValueError:
            pass
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                told = await asyncio.get_running_loop().getaddrinfo(bare, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError):
            raise Refused(
                f"the name {host} is not known here: check its spelling, or the name server of this machine",
                code="webhook_host_unknown",
            ) from None
        # A scope, as in fe80::1%eth0, is of no use to anybody else.
        unique = dict.fromkeys(ip_address(str(each[4][0]).partition("%")[0]) for each in told)
        return list(unique)[:_MOST]


def host_and_port(url: str) -> tuple[str, int, bool]:
    """Host, port, and whether the request would be in the clear."""
    parts = urlsplit(url)
    clear = parts.scheme != "https"
    return parts.hostname or "", parts.port or (80 if clear else 443), clear


def networks(named: Sequence[str]) -> list[Network]:
    """Networks as people write them; ValueError, with an example, for one that is none."""
    found: list[Network] = []
    for each in named:
        try:
            found.append(ip_network(each))
        except ValueError as error:
            raise ValueError(f"{error}: write networks such as 10.0.0.0/8 or fd00::/8") from None
    return found


def _of_the_world(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address.is_site_local:  # fec0::/10, which Python calls global
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _within(address: Address) -> list[Address]:
    """IPv4 addresses that an IPv6 one leads to."""
    if isinstance(address, IPv4Address):
        return []
    found: list[Address] = [each for each in (address.ipv4_mapped, address.sixtofour) if each]
    if address.teredo:
        found.extend(address.teredo)
    if any(address in each for each in _NAT64):
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _net(address: Address) -> str:
    return str(ip_network(f"{address}/{24 if address.version == 4 else 64}", strict=False))
