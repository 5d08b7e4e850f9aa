"""A closed-loop HTTP/1.1 load: so many connections, each sending its next command when the last one is answered.

Run as a process of its own: `python -m bench.load.http_client HOST PORT CONNECTIONS SECONDS`, the request's target, key
and budget as JSON on standard input; figures as JSON on standard output.
"""

import asyncio
import json
import sys
import time
from itertools import count

import uvloop


class Connection:
    """One keep-alive connection."""

    def __init__(self, host: str, port: int, path: str, key: str, numbers: "count[int]") -> None:
        self._host, self._port, self._path, self._key, self._numbers = host, port, path, key, numbers
        self.seconds: list[float] = []
        self.statuses: dict[int, int] = {}

    async def run(self, until: float) -> None:
        """Commands until the time is over."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        while time.perf_counter() < until:
            number = next(self._numbers)
            body = b'{"limit":"%d"}' % (1_000_000 + number)
            head = (
                f"PATCH {self._path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {self._key}\r\n"
                f"Idempotency-Key: bench-{number}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            began = time.perf_counter()
            writer.write(head.encode() + body)
            status = await self._answer(reader)
            self.seconds.append(time.perf_counter() - began)
            self.statuses[status] = self.statuses.get(status, 0) + 1
        writer.close()

    @staticmethod
    async def _answer(reader: asyncio.StreamReader) -> int:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
        await reader.readexactly(length)
        return int(lines[0].split()[1])


async def load(host: str, port: int, connections: int, seconds: float, path: str, key: str) -> dict[str, object]:
    """All connections at once."""
    numbers = count()
    crew = [Connection(host, port, path, key, numbers) for _ in range(connections)]
    began = time.perf_counter()
    await asyncio.gather(*(each.run(began + seconds) for each in crew))
    took = time.perf_counter() - began
    times = sorted(second for each in crew for second in each.seconds)
    statuses: dict[int, int] = {}
    for each in crew:
        for status, number in each.statuses.items():
            statuses[status] = statuses.get(status, 0) + number
    return {
        "per_second": len(times) / took,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[int(len(times) * 0.99)] * 1000,
        "statuses": statuses,
    }


if __name__ == "__main__":
    target = json.load(sys.stdin)
    figures = uvloop.run(
        load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), target["path"], target["key"])
    )
    sys.stdout.write(json.dumps(figures))
