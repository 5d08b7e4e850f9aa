"""Price cards as files: dated, never edited, and refused with their name when they are wrong."""

import hashlib
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.llm.prices import SHIPPED, load_prices, read_card
from domain.errors import Refused
from domain.pricing import PriceUnknown

TODAY = date(2026, 11, 21)
PUBLISHED: dict[str, str] = {
    "anthropic.2026-11-01.json": "135913b1e38caf2aa421dd51cbf8805dc2cc0d1701db7aa272254473efbb740e",
    "openai.2026-11-01.json": "1d7a73d95c17a162e0a672d4d7a8e9dde009e9e6aab857e980c8fc6a889af9b7",
    "scripted.1970-01-01.json": "0f2db41a589108d9a7bc54cbb8c432cbfc944013ed1ad55de6bd12a2451a4904",
}


def write(folder: Path, name: str, **changes) -> Path:
    folder.mkdir(exist_ok=True)
    card = {
        "provider": "local",
        "effective_from": "2026-01-01",
        "source": "our own machine",
        "models": [model("llama", "0.1", "0.2")],
        **changes,
    }
    path = folder / name
    path.write_text(json.dumps(card))
    return path


def model(name: str, read: object, written: object, **more) -> dict:
    return {"model": name, "prices": [{"rates": {"input": read, "output": written}}], **more}


def test_a_published_card_is_never_edited():
    shipped = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in SHIPPED.glob("*.json")}
    assert shipped == PUBLISHED, "put a changed price into a new card: a later effective_from, or the next fix"


def test_the_shipped_cards_of_each_vendor_load():
    prices = load_prices()
    assert prices.quote("openai", "gpt-4.1", TODAY).prices.prices[0].rate("input") == Decimal(2)
    assert prices.quote("anthropic", "claude-haiku-4-5-20251001", TODAY).prices.prices[0].rate("output") == Decimal(5)
    assert prices.quote("scripted", "anything", date(1999, 1, 1)).name == "scripted@1970-01-01/*"
    assert "gpt-5-mini" in prices.models("openai")


def test_own_cards_stand_beside_the_shipped_ones(tmp_path: Path):
    write(tmp_path / "prices", "local.json")
    prices = load_prices(tmp_path / "prices")
    assert prices.quote("local", "llama", TODAY).name == "local@2026-01-01/llama"
    assert prices.models("openai")


def test_an_unknown_model_is_refused_with_the_command_that_would_fix_it(tmp_path: Path):
    with pytest.raises(PriceUnknown, match=r"gpt-99.*toybox prices import FILE") as caught:
        load_prices(tmp_path / "prices").quote("local", "gpt-99", TODAY)
    assert caught.value.code == "price_unknown"


def test_a_card_that_was_edited_under_its_name_is_refused_with_the_file(tmp_path: Path):
    write(tmp_path / "prices", "a.json")
    write(tmp_path / "prices", "b.json", models=[model("llama", "9", "9")])
    with pytest.raises(ValueError, match=r"b\.json: there are two different price cards local@2026-01-01.*`fix`"):
        load_prices(tmp_path / "prices")


def test_a_fix_replaces_the_card_of_its_day(tmp_path: Path):
    write(tmp_path / "prices", "a.json")
    write(tmp_path / "prices", "b.json", models=[model("llama", "9", "9")], fix=1)
    quote = load_prices(tmp_path / "prices").quote("local", "llama", TODAY)
    assert (quote.name, quote.prices.prices[0].rate("input")) == ("local@2026-01-01.1/llama", Decimal(9))


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"models": []}, "models"),
        ({"sourcee": "x"}, "sourcee"),
        ({"source": ""}, "source"),
        ({"effective_from": "soon"}, "effective_from"),
        ({"models": [model("a", "-1", "1")]}, "input"),
        ({"models": [model("a", "1e3", "1")]}, "input"),
        ({"models": [model("a", 0.1, "1")]}, "input"),
        ({"models": [model("a b", "1", "1")]}, "model"),
        ({"models": [{"model": "a", "prices": [{"rates": {"tea": "1"}}]}]}, "tea"),
        ({"models": [{"model": "a", "input_per_million": "1", "output_per_million": "1"}]}, "prices"),
    ],
)
def test_a_wrong_card_is_refused_by_name_and_place(changes: dict, place: str, tmp_path: Path):
    path = write(tmp_path / "prices", "wrong.json", **changes)
    with pytest.raises(ValueError, match=f"{path}.*{place}"):
        load_prices(tmp_path / "prices")


def test_a_file_that_is_not_json_is_refused_by_name(tmp_path: Path):
    path = tmp_path / "x.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"x\.json"):
        read_card(path)


def test_a_folder_that_does_not_exist_adds_nothing(tmp_path: Path):
    assert load_prices(tmp_path / "prices").models("openai")


def test_the_folder_of_former_rates_is_refused_with_what_to_do(tmp_path: Path):
    (tmp_path / "rates").mkdir()
    with pytest.raises(Refused, match="write each file anew as a price card"):
        load_prices(tmp_path / "prices")
