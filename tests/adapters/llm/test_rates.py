"""Rate files: dated, immutable, and refused with their name when they are wrong."""

import hashlib
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.llm.rates import SHIPPED, RateCard
from domain.rates import UnknownRate

TODAY = date(2026, 11, 21)
PUBLISHED = {
    "anthropic.2026-11-01.json": "16f7c8a54d49f5b91bb08815b63ae11937fff738b50640cef79b551daa9eb241",
    "openai.2026-11-01.json": "9ea49635b78707883e0ddd7dce3304d3e6daebf81e204280940b9d0f52ea10ad",
    "scripted.1970-01-01.json": "09faf48db2dd924e8851b546b47fabb84c6d699ccd021124b7e97b5d608716bb",
}


def write(folder: Path, name: str, **changes) -> Path:
    rates = {
        "provider": "local",
        "effective_from": "2026-01-01",
        "source": "our own machine",
        "models": [{"model": "llama", "input_per_million": "0.1", "output_per_million": "0.2"}],
        **changes,
    }
    path = folder / name
    path.write_text(json.dumps(rates))
    return path


def test_a_published_file_is_never_edited():
    shipped = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in SHIPPED.glob("*.json")}
    assert shipped == PUBLISHED, "put a changed price into a new file with a later effective_from"


def test_the_shipped_rates_of_each_vendor_load():
    card = RateCard.load()
    assert card.rate("openai", "gpt-4.1", TODAY).input_per_million == Decimal(2)
    assert card.rate("anthropic", "claude-haiku-4-5-20251001", TODAY).output_per_million == Decimal(5)
    assert card.rate("scripted", "anything", date(1999, 1, 1)).output_per_million > 0
    assert "gpt-5-mini" in card.models("openai")


def test_names_are_exact():
    with pytest.raises(UnknownRate):
        RateCard.load().rate("openai", "gpt-4.1-2099-01-01", TODAY)


def test_an_unknown_model_is_refused_with_the_file_that_would_fix_it(tmp_path: Path):
    with pytest.raises(UnknownRate, match=r"gpt-99.*local\.2026-11-21\.json|gpt-99") as caught:
        RateCard.load(tmp_path).rate("local", "gpt-99", TODAY)
    assert f"{tmp_path}/local.2026-11-21.json" in str(caught.value)
    assert "docs/how-to/providers.md" in str(caught.value)
    assert caught.value.code == "price_unknown"


def test_a_rate_begins_on_its_day_and_ends_where_the_next_begins(tmp_path: Path):
    write(tmp_path, "a.json")
    later = [{"model": "llama", "input_per_million": "3", "output_per_million": "4"}]
    write(tmp_path, "b.json", effective_from="2026-06-01", models=later)
    card = RateCard.load(tmp_path)
    assert card.rate("local", "llama", date(2026, 5, 31)).rate_id == "local/llama@2026-01-01"
    assert card.rate("local", "llama", date(2026, 6, 1)).rate_id == "local/llama@2026-06-01"
    with pytest.raises(UnknownRate, match="its first rate begins on 2026-01-01"):
        card.rate("local", "llama", date(2025, 12, 31))


def test_an_exact_id_goes_before_any_model(tmp_path: Path):
    free = {"model": "*", "input_per_million": "0", "output_per_million": "0"}
    dear = {"model": "big", "also": ["big-2"], "input_per_million": "1", "output_per_million": "1"}
    write(tmp_path, "a.json", models=[free, dear])
    card = RateCard.load(tmp_path)
    assert card.rate("local", "small", TODAY).input_per_million == 0
    assert card.rate("local", "big-2", TODAY).input_per_million == 1


def test_two_prices_for_one_day_are_refused_and_both_files_named(tmp_path: Path):
    write(tmp_path, "a.json")
    write(tmp_path, "b.json", models=[{"model": "llama", "input_per_million": "9", "output_per_million": "9"}])
    with pytest.raises(ValueError, match=r"b\.json gives local/llama@2026-01-01 another price than .*a\.json"):
        RateCard.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"models": []}, "models"),
        ({"sourcee": "x"}, "sourcee"),
        ({"source": ""}, "source"),
        ({"effective_from": "soon"}, "effective_from"),
        ({"models": [{"model": "a", "input_per_million": "-1", "output_per_million": "1"}]}, "input_per_million"),
        ({"models": [{"model": "a", "input_per_million": "1e3", "output_per_million": "1"}]}, "input_per_million"),
        ({"models": [{"model": "a", "input_per_million": 0.1, "output_per_million": "1"}]}, "input_per_million"),
        ({"models": [{"model": "a b", "input_per_million": "1", "output_per_million": "1"}]}, "model"),
    ],
)
def test_a_wrong_file_is_refused_by_name_and_place(changes: dict, place: str, tmp_path: Path):
    path = write(tmp_path, "wrong.json", **changes)
    with pytest.raises(ValueError, match=f"{path}.*{place}"):
        RateCard.load(tmp_path)


def test_a_file_that_is_not_json_is_refused_by_name(tmp_path: Path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match=r"x\.json"):
        RateCard.load(tmp_path)


def test_a_folder_that_does_not_exist_adds_nothing(tmp_path: Path):
    assert RateCard.load(tmp_path / "none").models("openai")
