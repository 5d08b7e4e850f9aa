"""Checks from payloads alone that no budget is overspent: every scope, unit and window, at every position."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.log import StoredEvent

Payload = Mapping[str, Any]
NOTHING = Decimal(0)
ALWAYS = datetime.min.replace(tzinfo=UTC)
ENDS = ("budget.settled", "budget.released", "budget.hold_expired")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be in a log."""

    kind: str
    position: int
    said: str


@dataclass(frozen=True, slots=True)
class Use:
    """What one attempt takes of one limit, and since when it counts."""

    counts_from: datetime
    held: Decimal
    settled: Decimal | None = None
    excess: Decimal = NOTHING

    @property
    def amount(self) -> Decimal:
        """Held at first, then what it came to."""
        return self.held if self.settled is None else self.settled


@dataclass(slots=True)
class LimitBook:
    """One limit, folded here from nothing but payloads."""

    unit: str
    hard: bool
    limit: Decimal
    window: Payload
    starts_at: datetime = ALWAYS
    begins_at: datetime = ALWAYS
    ends_at: datetime | None = None
    uses: dict[str, Use] = field(default_factory=dict[str, Use])
    used: Decimal = NOTHING
    """Settled and held in the present window."""
    explained: Decimal = NOTHING
    """What `budget.overdrawn` said was charged over holds in the present window."""

    def put(self, attempt: str, use: Use) -> None:
        """What an attempt takes is something else now. Uses are never changed in place: sums would miss it."""
        for each, sign in ((self.uses.get(attempt), -1), (use, 1)):
            if each and each.counts_from >= self.starts_at:
                self.used += sign * each.amount
                self.explained += sign * each.excess
        self.uses[attempt] = use

    def count(self) -> None:
        """Sum up anew what counts, because the window or the excess of all has changed."""
        present = [each for each in self.uses.values() if each.counts_from >= self.starts_at]
        self.used = sum((each.amount for each in present), NOTHING)
        self.explained = sum((each.excess for each in present), NOTHING)


@dataclass(slots=True)
class BudgetBook:
    """One budget."""

    is_open: bool = True
    limits: dict[str, LimitBook] = field(default_factory=dict[str, LimitBook])
    open: dict[str, datetime] = field(default_factory=dict[str, datetime])
    expired: set[str] = field(default_factory=set[str])
    charges: dict[str, Payload] = field(default_factory=dict[str, Payload])


class Checker:
    """Reads events in the order of the log; whatever is wrong is a finding, with its position."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.fullest = NOTHING
        """The largest part of a hard limit that was ever used."""
        self.seen: set[tuple[str, str]] = set()
        """Units and kinds of windows that were checked."""
        self._budgets: dict[UUID, BudgetBook] = defaultdict(BudgetBook)
        self._admitted: dict[UUID, set[tuple[str, str, Decimal]]] = defaultdict(set)
        self._reserved: dict[UUID, set[tuple[str, str, Decimal]]] = defaultdict(set)
        self._last: datetime | None = None
        self._answers: Mapping[str, Callable[[BudgetBook, Payload, StoredEvent], None]] = {
            "budget.opened": self._limited,
            "budget.limit_added": self._limited,
            "budget.reopened": self._reopened,
            "budget.limit_changed": self._changed,
            "budget.limit_removed": self._removed,
            "budget.window_rolled": self._rolled,
            "budget.closed": self._closed,
            "budget.reserved": self._held,
            "budget.overdrawn": self._overdrawn,
            "budget.adjusted": self._adjusted,
            "budget.rebooked": self._rebooked,
            **dict.fromkeys(ENDS, self._ended),
        }

    def read(self, log: Iterable[StoredEvent]) -> "Checker":
        """Take more of the log."""
        for stored in log:
            self._last = stored.recorded_at
            said = stored.payload()
            if stored.type == "llm_job.admitted":
                for hold in said["holds"]:
                    fact = (hold["budget_id"], said["attempt_id"], Decimal(hold["amount"]))
                    self._admitted[stored.command_id].add(fact)
            elif answer := self._answers.get(stored.type):
                book = self._budgets[stored.stream_id]
                answer(book, said, stored)
                self._judge(book, stored)
        return self

    def limits(self, budget: UUID) -> Mapping[str, LimitBook]:
        """The limits of a budget as they stand, by name."""
        return self._budgets[budget].limits

    def close(self, *, grace: timedelta = timedelta(minutes=5)) -> list[Finding]:
        """What is wrong with all of it: also holds that nobody ended, and holds without their admission."""
        for command in self._admitted.keys() | self._reserved.keys():
            if self._admitted[command] != self._reserved[command]:
                odd = self._admitted[command] ^ self._reserved[command]
                self.findings.append(Finding("not one append", 0, f"command {command}: {sorted(odd)}"))
        for stream, book in self._budgets.items():
            for attempt, expires_at in book.open.items():
                if self._last and expires_at + grace < self._last:
                    self.findings.append(Finding("hold left", 0, f"attempt {attempt} in budget {stream}: {expires_at}"))
        return self.findings

    # --- limits and windows ---

    def _limited(self, book: BudgetBook, said: Payload, stored: StoredEvent) -> None:
        limit = LimitBook(said["unit"], said["hard"], Decimal(said["limit"]), said["window"])
        if said["span"]:
            self._enter(limit, said["span"], stored)
        book.limits[said["name"]] = limit
        self.seen.add((limit.unit, limit.window["kind"]))

    def _reopened(self, book: BudgetBook, said: Payload, stored: StoredEvent) -> None:
        known = book.limits.get(said["name"])
        if known is None:
            book.limits.clear()
            self._limited(book, said, stored)
        else:
            book.limits = {said["name"]: known}
            known.hard = said["hard"]
            if said["span"] and known.ends_at and datetime.fromisoformat(said["span"]["ends_at"]) > known.ends_at:
                self._enter(known, said["span"], stored)
            self._set(known, said)
        book.is_open = True

    def _changed(self, book: BudgetBook, said: Payload, _stored: StoredEvent) -> None:
        self._set(book.limits[said["name"]], said)

    @staticmethod
    def _set(limit: LimitBook, said: Payload) -> None:
        limit.limit = Decimal(said["limit"])
        limit.uses = {attempt: replace(use, excess=NOTHING) for attempt, use in limit.uses.items()}
        limit.count()

    @staticmethod
    def _removed(book: BudgetBook, said: Payload, _stored: StoredEvent) -> None:
        del book.limits[said["name"]]

    @staticmethod
    def _closed(book: BudgetBook, _said: Payload, _stored: StoredEvent) -> None:
        book.is_open = False

    def _rolled(self, book: BudgetBook, said: Payload, stored: StoredEvent) -> None:
        limit = book.limits[said["name"]]
        if limit.ends_at is None or stored.recorded_at < limit.ends_at:
            self._found("rolled early", stored, f"{said['name']} lasts until {limit.ends_at}")
        self._enter(limit, said["span"], stored)

    def _enter(self, limit: LimitBook, span: Payload, stored: StoredEvent) -> None:
        starts, begins, ends = (datetime.fromisoformat(span[name]) for name in ("starts_at", "begins_at", "ends_at"))
        if begins < (limit.ends_at or begins) or not starts <= begins <= stored.recorded_at < ends:
            self._found("wrong window", stored, f"{starts} to {ends} after {limit.ends_at}")
        if limit.window["kind"] == "rolling":
            if begins - starts < timedelta(hours=limit.window["hours"]):
                self._found("wrong window", stored, f"{begins - starts} of {limit.window['hours']} hours")
        else:
            self._check_midnights(limit.window, starts, ends, stored)
        limit.starts_at, limit.begins_at, limit.ends_at = starts, begins, ends
        limit.count()

    def _check_midnights(self, window: Payload, starts: datetime, ends: datetime, stored: StoredEvent) -> None:
        zone = ZoneInfo(window["time_zone"])
        for moment in (starts, ends):
            day, before = (each.astimezone(zone).date() for each in (moment, moment - timedelta(microseconds=1)))
            wrong = (window["kind"] == "week" and day.weekday() != 0) or (window["kind"] == "month" and day.day != 1)
            if day == before or wrong:
                self._found("wrong window", stored, f"{moment.astimezone(zone)} does not begin a {window['kind']}")
        if window["kind"] == "day" and ends - starts > timedelta(hours=49):
            self._found("wrong window", stored, f"a day of {ends - starts}")

    # --- holds ---

    def _held(self, book: BudgetBook, said: Payload, stored: StoredEvent) -> None:
        attempt = said["attempt_id"]
        if attempt in book.charges:
            self._found("held twice", stored, attempt)
        if not book.is_open:
            self._found("held while closed", stored, attempt)
        self._reserved[stored.command_id].add((str(stored.stream_id), attempt, Decimal(said["amount"])))
        book.charges[attempt] = said
        book.open[attempt] = datetime.fromisoformat(said["expires_at"])
        for name, limit in book.limits.items():
            if limit.ends_at and stored.recorded_at >= limit.ends_at:
                self._found("late hold", stored, f"{attempt} in {name}, whose window was over at {limit.ends_at}")
            limit.put(attempt, Use(limit.begins_at, _amount(said, limit.unit)))

    def _ended(self, book: BudgetBook, said: Payload, stored: StoredEvent) -> None:
        attempt = said["attempt_id"]
        if book.open.pop(attempt, None) is None:
            self._found("ended twice", stored, f"{stored.type} of {attempt}, for which nothing is held")
            return
        if stored.type == "budget.hold_expired":
            book.expired.add(attempt)
        for limit in book.limits.values():
            if use := limit.uses.get(attempt):
                spent = {"budget.settled": said, "budget.hold_expired": book.charges[attempt]}.get(stored.type)
                ended = replace(use, settled=_amount(spent, limit.unit) if spent else NOTHING)
                limit.put(attempt, ended)
                self._explains(ended, attempt, stored)

    def _adjusted(self, book: BudgetBook, said: Payload, stored: StoredEvent) -> None:
        attempt = said["attempt_id"]
        if attempt not in book.expired:
            self._found("ended twice", stored, f"{stored.type} of {attempt}, which did not expire")
            return
        book.expired.discard(attempt)
        deltas = {"amount": said["delta"], "input_tokens": said["input_delta"], "output_tokens": said["output_delta"]}
        for limit in book.limits.values():
            if use := limit.uses.get(attempt):
                ended = replace(use, settled=use.amount + _amount(deltas, limit.unit))
                limit.put(attempt, ended)
                self._explains(ended, attempt, stored)

    def _rebooked(self, book: BudgetBook, said: Payload, stored: StoredEvent) -> None:
        """A price or a count of a settled attempt was wrong: no admission, so what has no room explains itself."""
        attempt = said["attempt_id"]
        if attempt not in book.charges or attempt in book.open:
            self._found("ended twice", stored, f"{stored.type} of {attempt}, which is not settled")
        deltas = {"amount": said["delta"], "input_tokens": said["input_delta"], "output_tokens": said["output_delta"]}
        for limit in book.limits.values():
            if use := limit.uses.get(attempt):
                moved = replace(use, settled=use.amount + _amount(deltas, limit.unit))
                limit.put(attempt, moved)
                without_room = max(NOTHING, limit.used - limit.limit - limit.explained)
                limit.put(attempt, replace(moved, excess=moved.excess + without_room))

    def _explains(self, use: Use, attempt: str, stored: StoredEvent) -> None:
        if use.amount > use.held and use.excess == NOTHING:
            self._found("unexplained", stored, f"{use.amount} for a hold of {use.held} ({attempt})")

    @staticmethod
    def _overdrawn(book: BudgetBook, said: Payload, _stored: StoredEvent) -> None:
        for limit in book.limits.values():
            if limit.unit == said["unit"] and (use := limit.uses.get(said["attempt_id"])):
                limit.put(said["attempt_id"], replace(use, excess=Decimal(said["amount"]) - Decimal(said["held"])))

    def _judge(self, book: BudgetBook, stored: StoredEvent) -> None:
        for name, limit in book.limits.items():
            if not limit.hard:
                continue
            used = limit.used
            if used > limit.limit + limit.explained:
                self._found("over the limit", stored, f"{used} of {limit.limit} in {name}")
            if limit.limit:
                self.fullest = max(self.fullest, used / limit.limit)

    def _found(self, kind: str, stored: StoredEvent, said: str) -> None:
        self.findings.append(Finding(kind, stored.position, said))


def _amount(said: Payload, unit: str) -> Decimal:
    match unit:
        case "usd":
            return Decimal(said["amount"])
        case "total_tokens":
            return Decimal(said["input_tokens"]) + Decimal(said["output_tokens"])
        case _:
            return Decimal(said[unit])


def check(log: Iterable[StoredEvent]) -> list[Finding]:
    """All that is wrong with the money in a log."""
    return Checker().read(log).close()
