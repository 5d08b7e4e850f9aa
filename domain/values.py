"""Words that every context shares: money, instants, names, sealed text."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha1
from typing import Annotated
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

MONEY_DIGITS = 12
"""Fractional digits that an amount may have: one pico-dollar."""
_QUANTUM = Decimal(1).scaleb(-MONEY_DIGITS)
_LARGEST = Decimal(10) ** 15

NAMESPACE = UUID("6f0b2c5e-7d0f-5b58-9a53-2f6d5d1b7c11")
"""Root of every derived id, so that the same name always means the same stream."""
_ROOT = NAMESPACE.bytes


def money_text(amount: Decimal) -> str:
    """The one spelling of an amount: no exponent, no trailing zeros, no negative zero."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _check_money(amount: Decimal) -> Decimal:
    if not (amount.is_finite() and -_LARGEST < amount < _LARGEST):
        msg = f"an amount must be a finite number below {_LARGEST:f}"
        raise ValueError(msg)
    if amount != amount.quantize(_QUANTUM):  # below that number the context's 28 digits always hold it
        msg = f"an amount has at most {MONEY_DIGITS} fractional digits"
        raise ValueError(msg)
    return amount


_AS_DECIMAL = WithJsonSchema(
    {"type": "string", "format": "decimal", "pattern": r"^-?[0-9]{1,15}(\.[0-9]{1,12})?$"}, mode="serialization"
)
Money = Annotated[
    Decimal,
    AfterValidator(_check_money),
    PlainSerializer(money_text, return_type=str, when_used="json"),
    _AS_DECIMAL,
]
"""USD as an exact decimal; in JSON a string such as "0.0125"."""
PositiveMoney = Annotated[Money, Field(gt=0)]
Amount = Annotated[Money, Field(ge=0)]
"""Money that may be nothing but not less."""
ZERO = Decimal(0)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        msg = "a time needs its zone, for instance 2026-11-21T10:00:00Z"
        raise ValueError(msg)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        msg = "in UTC this time is outside of the years 1 to 9999"
        raise ValueError(msg) from error


def instant_text(moment: datetime) -> str:
    """The one spelling of an instant: UTC, microseconds, Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


Instant = Annotated[
    datetime,
    AfterValidator(_utc),
    PlainSerializer(instant_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""A moment in UTC; in JSON "2026-11-21T10:00:00.000000Z"."""

Day = Annotated[date, WithJsonSchema({"type": "string", "format": "date"}, mode="serialization")]
"""A day in UTC; in JSON "2026-11-21"."""

Fraction = Annotated[
    Decimal,
    AfterValidator(_check_money),
    PlainSerializer(money_text, return_type=str, when_used="json"),
    _AS_DECIMAL,
]
"""A temperature or a score: a decimal, in JSON a string, because events hold no floats."""

SLUG = r"^[a-z][a-z0-9-]{0,62}$"
Slug = Annotated[str, StringConstraints(pattern=SLUG)]
"""A name that people type and that appears in addresses: `release-notes`."""
ONE_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]+$"
"""Some text without control characters and line separators; every pattern refuses lone surrogates besides."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=ONE_LINE)]
"""One line of plain text that stays readable in the log: never personal data."""
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=ONE_LINE)]
"""A model as its provider calls it: `gpt-5.1-mini`, `meta-llama/llama-4`."""
_DATED = re.compile(r"(.+?)[-@](?:\d{8}|\d{4}-\d{2}-\d{2})")


def snapshot_of(model: str) -> str | None:
    """The name behind a dated snapshot, as OpenAI and Anthropic spell it: its price and its budgets are the name's."""
    dated = _DATED.fullmatch(model)
    return dated[1] if dated else None


Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""A reason as programs compare it: `timeout`, `checkpoint_expired`."""
Sealed = Annotated[str, StringConstraints(pattern=r"^s1\.[0-9a-f]{32}\.[A-Za-z0-9_-]+$")]
"""Text under a key that can be destroyed: `s1.<key's subject>.<nonce and ciphertext>`; see `commands/ports.py`."""
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A sha256, in hex."""
FreeText = Annotated[str, StringConstraints(pattern=r"^[^\u0000]*$")]
"""Text on its way to be sealed: all that UTF-8 can hold, but for U+0000, which no database keeps."""
Prose = Annotated[
    str, StringConstraints(max_length=10_000, pattern=r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$")
]
"""What a person writes to another, before it is sealed: lines of text, no other control characters."""
LONGEST_WAIT = 315_360_000
"""Seconds that anything may be waited for: ten years."""


class Value(BaseModel):
    """A frozen, strict value that may stand in an event's payload."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Target(Value):
    """A model at a provider: where a request may be sent."""

    provider: Slug
    model: ModelName

    @property
    def label(self) -> str:
        """`openai/gpt-5-mini`."""
        return f"{self.provider}/{self.model}"


Fallbacks = Annotated[list[Target], Field(max_length=8)]
"""Where else a request may be sent, in this order."""


class AiConfig(Value):
    """Which model answers and how. A field that is None is inherited: run's default → project → agent."""

    provider: Slug | None = None
    model: ModelName | None = None
    temperature: Annotated[Fraction, Field(ge=0, le=2)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    fallbacks: Fallbacks | None = None
    """An empty list is a choice as well: nowhere else."""

    def over(self, inherited: "AiConfig") -> "AiConfig":
        """This configuration, with what it leaves open taken from the inherited one."""
        own = {name: value for name, value in self if value is not None}
        return inherited.model_copy(update=own)


class Text(Value):
    """Text that people or models wrote: its digest always, its sealed body here when it is short.

    Longer text lies, sealed too, in the object store of the same project under its digest.
    """

    digest: Digest
    size: Annotated[int, Field(ge=0)]
    sealed: Sealed | None = None


INLINE_TEXT = 16 * 1024
"""Bytes of UTF-8 up to which text may travel inside an event."""


def derived_id(*parts: object) -> UUID:
    """The id of the thing that these words name, the same in every process and for ever."""
    # As `uuid5` makes it, without its detours: several are made for every command.
    name = "|".join(map(str, parts)).encode()
    return UUID(bytes=sha1(_ROOT + name, usedforsecurity=False).digest()[:16], version=5)
