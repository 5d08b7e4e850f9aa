"""What models cost: immutable cards with absolute rates per bucket, tier, speed, region and size of prompt."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from domain.errors import Refused
from domain.pricing.usage import INPUT, OUTPUT, Bucket, Standard
from domain.values import ONE_LINE

PER_MILLION: Final = 1_000_000
_PER: Final[Mapping[str, int]] = {"audio_ms": 60_000, "session_ms": 60_000}
"""Sound is priced by the minute; tokens by the million; uses of tools by the thousand."""

RateText = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,6}(\.[0-9]{1,12})?$")]
WORD: Final = r"^[^\s\u0000-\u001f\u007f-\u009f\u2028\u2029]+$"
Word = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=WORD)]
Remark = Annotated[str, StringConstraints(max_length=1_000, pattern=f"^$|{ONE_LINE}")]


RateId = Annotated[str, StringConstraints(min_length=1, max_length=1_500, pattern=ONE_LINE)]
"""Names a figure of a card, or the prices of a model in it."""


class PriceUnknown(Refused):
    """No rate is known, so the call could cost anything: it is refused before it is sent."""

    code = "price_unknown"


def per(bucket: Bucket) -> int:
    """How many of a bucket its rate is for: a million tokens, a thousand uses, a minute."""
    return PER_MILLION if bucket in INPUT or bucket in OUTPUT else _PER.get(bucket, 1000)


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(_Card):
    """The rates of one model under one set of conditions. Each is absolute: nothing is multiplied to find it."""

    tier: Word = Standard
    speed: Word = Standard
    region: Word | None = None
    above_input_tokens: Annotated[int, Field(ge=0)] = 0
    """These rates hold for the whole of a pass that reads more than this."""
    rates: Annotated[Mapping[Bucket, RateText], Field(min_length=1)]

    def rate(self, bucket: Bucket) -> Decimal | None:
        """USD per million tokens, per thousand uses, or per minute."""
        text = self.rates.get(bucket)
        return None if text is None else Decimal(text)

    @property
    def condition(self) -> str:
        """The conditions in one word, as they stand in rate ids."""
        return f"{self.tier}.{self.speed}.{self.region or 'any'}.{self.above_input_tokens}"

    @property
    def key(self) -> tuple[str, str, str | None, int]:
        """What makes it unlike the model's other prices."""
        return (self.tier, self.speed, self.region, self.above_input_tokens)


class ModelPrices(_Card):
    """What one model costs, under its exact ids; a dated id (`name-20251001`, `name-2025-10-01`) is its alias."""

    model: Word
    also: tuple[Word, ...] = ()
    max_input_tokens: Annotated[int, Field(gt=0)] | None = None
    """The longest prompt that the model takes, or that these prices hold for."""
    prices: Annotated[tuple[Price, ...], Field(min_length=1)]
    note: Remark = ""

    @model_validator(mode="after")
    def _conditions_differ(self) -> Self:
        keys = [each.key for each in self.prices]
        if len(set(keys)) != len(keys):
            raise ValueError(f"{self.model} has two prices for the same tier, speed, region and size")
        if not any(each.above_input_tokens == 0 for each in self.prices):
            raise ValueError(f"{self.model} has no price that begins at above_input_tokens 0")
        return self

    def price(self, *, tier: str, speed: str, region: str | None, input_tokens: int) -> Price | None:
        """The price of a pass: that of its region, else of any; of the highest band that it is in."""
        for place in (region, None):
            fitting = [
                each
                for each in self.prices
                if (each.tier, each.speed, each.region) == (tier, speed, place)
                and (each.above_input_tokens < input_tokens or each.above_input_tokens == 0)
            ]
            if fitting:
                return max(fitting, key=lambda each: each.above_input_tokens)
        return None


class PriceCard(_Card):
    """One provider's prices from one day on. It is never edited: a new price is a card of a later day, or a fix."""

    provider: Word
    effective_from: date
    fix: Annotated[int, Field(ge=0)] = 0
    """A card of the same day with a higher number replaces one that was wrong."""
    source: Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=ONE_LINE)]
    models: Annotated[tuple[ModelPrices, ...], Field(min_length=1)]

    @property
    def name(self) -> str:
        """`openai@2026-11-01`, or `openai@2026-11-01.1` after a fix."""
        return f"{self.provider}@{self.effective_from}" + (f".{self.fix}" if self.fix else "")


class Quote(_Card):
    """The prices of one model that are in force, and the card that says so."""

    card: str
    model: str
    """As the card spells it."""
    prices: ModelPrices

    @property
    def name(self) -> str:
        """`openai@2026-11-01/gpt-6-sol`: what an admission was bounded by."""
        return f"{self.card}/{self.model}"

    def rate_id(self, price: Price, bucket: Bucket) -> str:
        """Which figure of which card: `openai@2026-11-01/gpt-6-sol/standard.standard.any.0#input`."""
        return f"{self.name}/{price.condition}#{bucket}"


def dearest(buckets: Iterable[Bucket], prices: Sequence[Price]) -> Decimal | None:
    """The highest rate of these buckets in these prices; None where there is none."""
    rates = [rate for price in prices for bucket in buckets if (rate := price.rate(bucket)) is not None]
    return max(rates, default=None)
