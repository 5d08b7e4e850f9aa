"""An answer on a terminal: its text as it is written, what keeps it waiting, and what it cost in the end."""

import sys
import time
from collections.abc import Iterator
from typing import Any

from domain.errors import Unavailable
from toybox.client import Client, FeedEvent
from toybox.terminal.failures import Exit
from toybox.terminal.output import dollars, err, moment, money, print_json, span

Json = dict[str, Any]
PAUSE = 0.5
PATIENCE = 60.0
"""How long a server may be away before following gives up."""
ENDS = {"completed": Exit.OK, "failed": Exit.FAILED, "cancelled": Exit.FAILED}
BUDGET_KINDS = frozenset({"budget_exceeded"})


def told(client: Client, place: str) -> Iterator[FeedEvent]:
    """All messages of a job's stream; a connection that is lost is taken up where it broke off."""
    last: str | None = None
    lost_at: float | None = None
    while True:
        try:
            with client.stream(f"{place}/stream", last_id=last) as events:
                if events is None:
                    return
                for each in events:
                    lost_at, last = None, each.id or last
                    yield each
                    if each.name in ENDS:
                        return
        except Unavailable:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > PATIENCE:
                raise
        time.sleep(PAUSE)


class Screen:
    """Shows one answer; the text goes to standard output, all else to standard error."""

    def __init__(self, *, as_json: bool, live: bool = True) -> None:
        self._as_json = as_json
        self._live = live
        self._text = ""
        self.exit = Exit.FAILED

    def show(self, event: FeedEvent) -> None:
        """One message."""
        if self._as_json:
            if event.name != "heartbeat":
                print_json({"event": event.name, "id": event.id, **event.data})
        elif shown := getattr(self, f"_{event.name}", None):
            shown(event.data)
        self.exit = ENDS.get(event.name, self.exit)
        if event.name == "failed" and event.data.get("kind") in BUDGET_KINDS:
            self.exit = Exit.BUDGET

    def _delta(self, data: Json) -> None:
        self._text += data["text"]
        if self._live:
            self._write(data["text"])

    def _restarted(self, data: Json) -> None:
        void, self._text = self._text, ""
        if void and self._live:
            self._write("" if void.endswith("\n") else "\n")
            err().print(f"── what stands above is void: attempt {data['attempt']} answers ──", style="yellow")

    def _parked(self, data: Json) -> None:
        numbers = f"{_amount(data, 'settled')} spent and {_amount(data, 'held')} held of {_amount(data, 'limit')}"
        until = f"; tried again at {moment(data['retry_at'])}" if data.get("retry_at") else ""
        asked = _amount(data, "requested")
        err().print(f"waits for the budget of {data['scope']}: {numbers}, {asked} needed{until}", style="yellow")

    def _resumed(self, _: Json) -> None:
        err().print("goes on", style="dim")

    def _retry_scheduled(self, data: Json) -> None:
        self._break()
        err().print(f"{data['reason']}; tried again at {moment(data['due_at'])}", style="yellow")

    def _attempt_lost(self, _: Json) -> None:
        self._break()
        err().print("its worker fell silent; another one takes over", style="yellow")

    def _completed(self, data: Json) -> None:
        if data.get("erased"):
            err().print("the answer was erased", style="yellow")
        if not self._live:
            self._write(self._text)
            self._live = True
        self._break()
        err().print(summary(data), style="dim")
        if data["finish_reason"] != "stop":
            err().print(f"the model stopped early: {data['finish_reason']}", style="yellow")

    def _failed(self, data: Json) -> None:
        self._break()
        note = f" ({data['note']})" if data.get("note") else ""
        err().print(f"failed: {data['reason']}{note} · {dollars(data['spent'])}", style="red")

    def _cancelled(self, data: Json) -> None:
        self._break()
        err().print(f"cancelled: {data['reason']} · {dollars(data['spent'])} so far", style="yellow")

    def _break(self) -> None:
        if self._text and self._live and not self._text.endswith("\n"):
            self._write("\n")

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def summary(data: Json) -> str:
    """Tokens, money and times of an answer in one line."""
    read, written = data["input_tokens"], data["output_tokens"]
    used = "tokens not counted" if read is None else f"{read:,} → {written:,} tokens"
    first = data["first_token_ms"]
    times = [
        f"waited {span(data['queue_ms'] / 1000)}",
        *([f"first token {span(first / 1000)}"] if first is not None else []),
        f"total {span(data['total_ms'] / 1000)}",
    ]
    retried = f" (of {money(data['spent'])} with earlier attempts)" if data["spent"] != data["cost"] else ""
    return " · ".join([used, f"{money(data['cost'])}{retried}", *times, f"{data['provider']}/{data['model']}"])


def _amount(data: Json, field: str) -> str:
    unit = data.get("unit", "usd")
    return dollars(data[field]) if unit == "usd" else f"{int(float(data[field])):,} {unit.replace('_', ' ')}"
