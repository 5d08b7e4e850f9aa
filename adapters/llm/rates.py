"""Dated, immutable rate files: what each model's tokens cost from which day on."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from domain.rates import Rate, UnknownRate

SHIPPED = Path(__file__).parent / "rates"
ANY_MODEL = "*"

_Price = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,6}(\.[0-9]{1,12})?$")]
_Word = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^\S+$")]


class ModelRate(BaseModel):
    """USD per million tokens of one model, under its exact ids."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: _Word
    also: tuple[_Word, ...] = ()
    input_per_million: _Price
    output_per_million: _Price
    max_input_tokens: Annotated[int, Field(gt=0)] | None = None
    note: str = ""


class RateFile(BaseModel):
    """One provider's rates from one day on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: _Word
    effective_from: date
    source: Annotated[str, StringConstraints(min_length=1)]
    models: Annotated[tuple[ModelRate, ...], Field(min_length=1)]


class RateCard:
    """The rates of every file in the folders it was loaded from."""

    def __init__(self, files: Iterable[tuple[str, RateFile]] = (), *, own: Path | None = None) -> None:
        self._own = own
        self._rates: dict[tuple[str, str], dict[date, tuple[Rate, str]]] = {}
        for name, file in files:
            for model in file.models:
                self._add(name, file, model)

    @classmethod
    def load(cls, own: Path | None = None) -> "RateCard":
        """The shipped files and those of a folder of the user's own, `<data directory>/rates`."""
        folders = [SHIPPED] if own is None else [SHIPPED, own]
        return cls(((str(path), _read(path)) for folder in folders for path in sorted(folder.glob("*.json"))), own=own)

    def rate(self, provider: str, model: str, at: date) -> Rate:
        """The rate in force on that day; a rate for the model's exact id goes before one for any model."""
        for known in (model, ANY_MODEL):
            dated = self._rates.get((provider, known), {})
            begun = [day for day in dated if day <= at]
            if begun:
                return dated[max(begun)][0]
        raise UnknownRate(self._unknown(provider, model, at), provider=provider, model=model)

    def models(self, provider: str) -> tuple[str, ...]:
        """Every model id of a provider that has a rate."""
        return tuple(sorted(model for known, model in self._rates if known == provider))

    def _add(self, name: str, file: RateFile, model: ModelRate) -> None:
        for known in (model.model, *model.also):
            rate = Rate(
                rate_id=f"{file.provider}/{known}@{file.effective_from}",
                input_per_million=Decimal(model.input_per_million),
                output_per_million=Decimal(model.output_per_million),
                max_input_tokens=model.max_input_tokens,
            )
            dated = self._rates.setdefault((file.provider, known), {})
            other, place = dated.setdefault(file.effective_from, (rate, name))
            if other != rate:
                raise ValueError(
                    f"{name} gives {rate.rate_id} another price than {place}: "
                    "a published rate is never changed, put the new one in a file with a later effective_from"
                )

    def _unknown(self, provider: str, model: str, at: date) -> str:
        place = f"{self._own or '<data directory>/rates'}/{provider}.{at}.json"
        days = self._rates.get((provider, model))
        why = f"its first rate begins on {min(days)}" if days else "no rate file names it"
        return (
            f"the price of {provider} model {model!r} on {at} is unknown ({why}): check the model's exact id, "
            f"or add its rate in {place} and restart (docs/how-to/providers.md shows the file)"
        )


def _read(path: Path) -> RateFile:
    try:
        return RateFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ValueError(f"{path}: {place}: {first['msg']} (docs/how-to/providers.md shows the file)") from None
