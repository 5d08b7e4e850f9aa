"""Price cards for tests: one with every condition, one simple."""

from datetime import date

from domain.pricing import Catalogue, ModelPrices, Price, PriceCard, Quote

DAY = date(2026, 11, 1)

RICH = ModelPrices(
    model="rich-1",
    also=("rich",),
    max_input_tokens=1_000_000,
    prices=(
        Price(
            rates={
                "input": "4",
                "input_cache_read": "0.2",
                "input_cache_write_5m": "5",
                "input_cache_write_1h": "8",
                "input_audio": "32",
                "output": "20",
                "output_audio": "64",
                "web_search": "10",
                "audio_ms": "0.006",
            }
        ),
        Price(above_input_tokens=200_000, rates={"input": "8", "input_cache_read": "0.4", "output": "30"}),
        Price(
            tier="batch",
            rates={"input": "2", "input_cache_read": "0.1", "input_cache_write_5m": "2.5", "output": "10"},
        ),
        Price(speed="fast", rates={"input": "8", "output": "40"}),
        Price(region="us", rates={"input": "4.4", "output": "22"}),
    ),
)
PLAIN = ModelPrices(model="plain-1", prices=(Price(rates={"input": "0.1", "output": "0.5"}),))
CARD = PriceCard(provider="acme", effective_from=DAY, source="tests", models=(RICH, PLAIN))


def quote(model: str) -> Quote:
    """The price of a model of the card."""
    return Catalogue([CARD]).quote("acme", model, DAY)
