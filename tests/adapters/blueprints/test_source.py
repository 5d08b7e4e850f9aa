"""The narrow YAML: strings stay strings, nothing is constructed, nothing explodes, every refusal has its line."""

from decimal import Decimal
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.blueprints import parse_blueprint
from adapters.blueprints.source import MAX_ALIASES, MAX_BYTES, read
from domain.blueprints import Blueprint, BlueprintError
from tests.adapters.blueprints.documents import ONE_AGENT

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def values(text: str, source: str = "x.yaml") -> Any:
    return read(text, source=source).plain()


def refusal(text: str, source: str = "x.yaml") -> str:
    with pytest.raises(BlueprintError) as refused:
        read(text, source=source)
    return str(refused.value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("No", "No"),
        ("True", "True"),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-11-21", "2026-11-21"),
        ("10:30", "10:30"),
        ("007", "007"),
        ("0o17", "0o17"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("=", "="),
        (".", "."),
        ("e5", "e5"),
        (".inf", ".inf"),
        ("nan", "nan"),
        ("12", 12),
        ("-3", -3),
        ("0.50", Decimal("0.50")),
        (".5", Decimal("0.5")),
        ("2e3", Decimal(2000)),
        ('"0.50"', "0.50"),
        ("'true'", "true"),
        ('"\\ud83d\\ude00"', "😀"),
    ],
)
def test_a_plain_value_means_what_it_looks_like(written: str, meant: object) -> None:
    found = values(f"key: {written}")["key"]
    assert (found, type(found)) == (meant, type(meant))


def test_keys_are_text_whatever_they_look_like() -> None:
    assert values("on: 1\n12: 2\nnull: 3") == {"on": 1, "12": 2, "null": 3}


def test_a_list_becomes_a_tuple() -> None:
    assert values("a: [1, [x], {b: c}]") == {"a": (1, ("x",), {"b": "c"})}


def test_json_may_be_indented_with_tabs_and_say_decimals() -> None:
    text = '{\n\t"a": 1.5,\n\t"b": [true, null, "x\\ty \\u00e9"]\n}'
    assert values(text, "x.json") == {"a": Decimal("1.5"), "b": (True, None, "x\ty é")}
    assert values(text, "request") == values(text, "x.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a: !!python/object/apply:os.system [x]",
            "x.yaml:1: the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("a: 1\nb: !!str 2", "x.yaml:2: the tag 'tag:yaml.org,2002:str' is not allowed"),
        ("a: 1\nb: 2\na: 3", "x.yaml:3: the key 'a' appears twice; keep one of them; the first is on line 1"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "x.yaml:3: merge keys (<<) are not supported"),
        ("a: *nobody", "x.yaml:1: the alias '*nobody' has no anchor"),
        ("a: &x [*x]", "x.yaml:1: the alias '*x' stands inside its own anchor"),
        ("a: &x 1\nb: &x 2", "x.yaml:2: the anchor 'x' is defined twice"),
        ("? [a]\n: b", "x.yaml:1: a key must be plain text"),
        ("a: {{ inputs.x }}", "x.yaml:1: a key must be plain text; text that starts with {{"),
        ("&x a: 1", "x.yaml:1: the key 'a' has a tag or an anchor"),
        ("a: 1\n---\nb: 2", "x.yaml:2: a second document begins here"),
        ("", "x.yaml: the blueprint is empty"),
        ("# nothing", "x.yaml: the blueprint is empty"),
        ("- a", "x.yaml:1: a blueprint is a mapping of fields"),
        ("hello", "x.yaml:1: a blueprint is a mapping of fields"),
        ("a: 1\n\tb: 2", "x.yaml:2: not valid YAML"),
        ("a: [1", "not valid YAML"),
        ('a: "\\U99999999"', "not valid YAML"),
        ("a: 1\nb: \x07", "x.yaml:2: a character that text may not contain"),
        ('a: 1\nb: "\\0"', "x.yaml:2: text contains U+0000"),
        ('a: "\\ud800"', "x.yaml:1: text contains half a character"),
        ("a: 1e99999999", "x.yaml:1: a number is out of range"),
        (f"a: {'9' * 5000}", "x.yaml:1: a number is out of range"),
        ("a: " + "[" * 40 + "]" * 40, "x.yaml:1: nested too deeply"),
        ("a: " + "[" * 4000, "nested too deeply"),
    ],
)
def test_what_is_refused_is_named_with_its_line(text: str, said: str) -> None:
    assert said in refusal(text)


def test_broken_json_is_named_with_its_line() -> None:
    assert refusal('{"a": 1,\n "b": }', "x.json").startswith("x.json:2: not valid JSON: Expecting value")
    assert "nested too deeply" in refusal("[" * 200_000, "x.json")


def test_aliases_stand_for_their_value_and_are_limited() -> None:
    assert values("a: &x {b: [1]}\nc: *x")["c"] == {"b": (1,)}
    many = "a: &x 1\nb: [" + "*x, " * (MAX_ALIASES + 1) + "]"
    assert f"more than {MAX_ALIASES} aliases" in refusal(many)


def test_a_billion_laughs_are_not_funny() -> None:
    bomb = "l0: &l0 [" + "lol, " * 20 + "]\n"
    bomb += "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 6))
    assert "more than 20,000 values" in refusal(bomb)


def test_aliases_cannot_build_a_tower() -> None:
    tower = "l0: &l0 " + "[" * 20 + "]" * 20 + "\n"
    tower += "".join(f"l{n}: &l{n} {'[' * 20}*l{n - 1}{']' * 20}\n" for n in range(1, 40))
    assert "x.yaml:2: nested too deeply" in refusal(tower)


def test_too_many_values_and_too_many_bytes_are_refused() -> None:
    assert "more than 20,000 values" in refusal("a: [" + "1," * 20_000 + "]")
    assert "larger than 1 MiB" in refusal("a: " + "é" * (MAX_BYTES // 2))


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(max_size=9)
_TREES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(["phases", "name"]), inner),
    max_leaves=20,
)


def _is_blueprint_or_refused(text: str, name: str) -> None:
    try:
        outcome = parse_blueprint(text, name=name)
    except BlueprintError as error:
        outcome = error.problems
    assert outcome
    assert isinstance(outcome, Blueprint) or all(each.message and each.fix and each.source == name for each in outcome)


@UNHURRIED
@given(st.text(), st.sampled_from(["x.yaml", "x.json"]))
@example("%YAML 1." + "9" * 5000 + "\n---\na: 1", "x.yaml")
@example("! a: 1", "x.yaml")
@example("a: !<x> 1", "x.yaml")
@example("{a: 1}", "x.json")
@example("\ud800", "x.yaml")
@example('a: "\\x"', "x.yaml")
def test_no_text_whatever_ends_in_anything_but_a_blueprint_or_its_problems(text: str, name: str) -> None:
    _is_blueprint_or_refused(text, name)


@UNHURRIED
@given(st.lists(st.sampled_from(list("ab01:-[]{}&*!|>'\"%@`#,?~ \n\t<=\\xuU.")), max_size=60).map("".join))
def test_no_heap_of_yaml_signs_does_either(text: str) -> None:
    _is_blueprint_or_refused(text, "x.yaml")


@UNHURRIED
@given(_TREES)
def test_no_tree_of_values_does_either(tree: object) -> None:
    _is_blueprint_or_refused(yaml.dump(tree, allow_unicode=True), "x.yaml")


@UNHURRIED
@given(st.integers(0, len(ONE_AGENT)), st.integers(0, 12), st.text(max_size=6))
def test_no_slip_of_the_keyboard_does_either(at: int, removed: int, typed: str) -> None:
    _is_blueprint_or_refused(ONE_AGENT[:at] + typed + ONE_AGENT[at + removed :], "x.yaml")


_FIELDS = [
    "name",
    "agents",
    "inputs",
    "budget",
    "limit",
    "quality",
    "checkpoint",
    "ai",
    "default",
    "depends_on",
    "[key]",
]


@UNHURRIED
@given(st.dictionaries(st.sampled_from([*_FIELDS, "phases", "defaults", "type", "é"]), _TREES))
def test_no_wrong_value_in_a_right_place_does_either(fields: dict[str, object]) -> None:
    right = {"blueprint": 1, "name": "x", "description": "x", "phases": [{"name": "p", "agents": [fields]}]}
    _is_blueprint_or_refused(yaml.dump({**right, **fields}, allow_unicode=True), "x.yaml")
