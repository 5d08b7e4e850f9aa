"""Price cards as files: those that come with toybox, and a folder of the user's own."""

from pathlib import Path

from pydantic import ValidationError

from domain.errors import Refused
from domain.pricing import Catalogue, PriceCard

SHIPPED = Path(__file__).parent / "prices"
FORMER = "rates"
"""Where prices lay before they told buckets apart."""


def load_prices(own: Path | None = None) -> Catalogue:
    """The shipped cards and those of a folder of the user's own, `<data directory>/prices`."""
    if own is not None and (former := own.with_name(FORMER)).is_dir():
        raise Refused(
            f"{former} holds prices in a form that is read no more: write each file anew as a price card into {own} "
            "(docs/how-to/prices.md shows one) and remove the folder",
            code="prices_moved",
        )
    catalogue = Catalogue()
    for folder in [SHIPPED] if own is None else [SHIPPED, own]:
        for path in sorted(folder.glob("*.json")):
            card = read_card(path)
            try:
                catalogue.add(card, origin="shipped" if folder == SHIPPED else "own")
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
    return catalogue


def read_card(path: Path) -> PriceCard:
    """One card; ValueError says what is wrong with it, and where."""
    return card_of(path.read_bytes(), str(path))


def card_of(text: bytes | str, name: str) -> PriceCard:
    """The card in this text; `name` is what a complaint calls it."""
    try:
        return PriceCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ValueError(f"{name}: {place}: {first['msg']} (docs/how-to/prices.md shows a card)") from None
