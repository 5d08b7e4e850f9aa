"""Prompts: what a template may say, what it is refused, and that no template can hang or fill the machine."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.blueprints import outputs_used, render
from domain.blueprints import BlueprintError

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
LARGE = "line of text\n" * 50_000


def refusal(template: str, **inputs: str | int) -> str:
    with pytest.raises(BlueprintError) as refused:
        render(template, inputs, {})
    return str(refused.value)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ inputs.topic }}, {{ inputs.count }}, {{ inputs.share }}", "tides, 3, 0.50"),
        ("{{ inputs['max-words'] }} {{ inputs.max_words }}", "9 9"),
        ("{{ outputs['first-draft'] }}|{{ outputs.first_draft }}", "A draft|A draft"),
        ("{% if inputs.style %}{{ inputs.style }}{% else %}plain{% endif %}", "plain"),
        ("{{ inputs.style | default('plain') }}", "plain"),
        ("{% for n in range(3) %}{{ n }}{{ ',' if not loop.last }}{% endfor %}", "0,1,2"),
        ("{% for name, text in outputs | items %}{{ name }}: {{ text }};{% endfor %}", "first-draft: A draft;b: B;"),
        ("{% for line in inputs.list | lines %}- {{ line }}\n{% endfor %}", "- x\n- y\n"),
        ("{{ inputs.list | lines | length }} {{ inputs.list | lines | sort | last }}", "2 y"),
        ("{{ (inputs.list | lines)[:1] | join(', ') }} {{ inputs.topic[1:3] }}", "x id"),
        ("{{ inputs.topic | upper }} {{ inputs.topic | title }} {{ ' A ' | trim | lower }}", "TIDES Tides a"),
        ("{{ inputs.topic | replace('t', 'r') }} {{ inputs.topic | truncate(2) }}", "rides ti..."),
        ("{{ inputs.list | indent(2) }}", "x\n  y"),
        ("{{ 'one two' | wordcount }} {{ inputs.count + 1 }} {{ inputs.list | lines | first }}", "2 4 x"),
        ("{{ 'id' in inputs.topic and inputs.count is divisibleby 3 }}", "True"),
        ("{% raw %}{{ as it is }}{% endraw %}", "{{ as it is }}"),
        ("<b>&{{ inputs.html }}", "<b>&<i>"),
        ("{# a remark #}text", "text"),
        ("a\n  {% if true %}\nb\n  {% endif %}\nc", "a\nb\nc"),
    ],
)
def test_a_template_sees_inputs_and_outputs(template: str, text: str) -> None:
    inputs = {"topic": "tides", "count": 3, "share": Decimal("0.50"), "max-words": 9, "style": "", "list": "x\ny"}
    assert render(template, {**inputs, "html": "<i>"}, {"first-draft": "A draft", "b": "B"}) == text


@pytest.mark.parametrize(
    ("template", "used"),
    [
        ("no output", []),
        ("{{ inputs.b }}", []),
        ("{{ outputs.b }} {{ outputs['b'] }}", ["b"]),
        ("{{ outputs['first-draft'] }}", ["first-draft"]),
        ("{% if outputs.b %}{{ outputs.first_draft | upper }}{% endif %}", ["first-draft", "b"]),
        ("{{ outputs.gone }}", []),
        ("{% raw %}{{ outputs.b }}{% endraw %}", []),
        ("{% for name, text in outputs | items %}{{ text }}{% endfor %}", ["first-draft", "b"]),
        ("{% for name in ['b'] %}{{ outputs[name] }}{% endfor %}", ["first-draft", "b"]),
        ("{{ outputs | length }} {{ outputs.b }}", ["first-draft", "b"]),
    ],
)
def test_the_outputs_that_a_template_uses_are_known_before_it_is_rendered(template: str, used: list[str]) -> None:
    assert list(outputs_used(template, ["first-draft", "b"])) == used


def test_names_that_python_objects_have_are_ordinary_names() -> None:
    assert (
        render("{{ inputs.items }} {{ inputs.keys }} {{ inputs.get }}", {"items": 1, "keys": 2, "get": 3}, {})
        == "1 2 3"
    )


def test_what_was_not_given_is_named() -> None:
    assert refusal("{{ inputs.x }}") == "the template uses inputs.x, which is not there; provide it"
    assert "there is no 'x' here" in refusal("{% for n in ['x'] %}{{ inputs[n] }}{% endfor %}")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ ''.__class__.__mro__ }}", "cannot be reached"),
        ("{{ inputs.x.__class__ }}", "'.__class__' cannot be reached"),
        ("{{ inputs.__init__ }}", "not there"),
        ("{{ inputs['__class__'] }}", "not there"),
        ("{% for n in ['__class__'] %}{{ inputs[n] }}{% endfor %}", "there is no '__class__' here"),
        ("{% for n in ['upper'] %}{{ 'a'[n] }}{% endfor %}", "there is no 'upper' here"),
        ("{{ inputs.x.upper() }}", "cannot be"),
        ("{{ inputs.x() }}", "functions cannot be called"),
        ("{{ self }}", "'self' cannot be used"),
        ("{{ cycler }}", "'cycler', which is not known"),
        ("{{ inputs.max-words }}", "'words', which is not known"),
        ("{{ loop.index }}", "'loop', which is not known"),
        ("{% for x in [1] %}{{ loop.cycle }}{% endfor %}", "'.cycle' cannot be reached"),
        ("{% include 'x' %}", "'include' is not supported"),
        ("{% import 'x' as x %}", "'import' is not supported"),
        ("{% extends 'x' %}", "'extends' is not supported"),
        ("{% set x = 1 %}", "'assign' is not supported"),
        ("{% macro x() %}{% endmacro %}", "'macro' is not supported"),
        ("{{ 'a' * 9 }}", "'mul' is not supported"),
        ("{{ 9 ** 9 }}", "'pow' is not supported"),
        ("{{ '%99d' % 1 }}", "'mod' is not supported"),
        ("{{ 'x' | attr('y') }}", "there is no filter 'attr'"),
        ("{{ 'x' | uper }}", "there is no filter 'uper'; did you mean 'upper'?"),
        ("{{ 1 is callable }}", "there is no test 'callable'"),
        ("{{ inputs }}", "all inputs or outputs at once are not a text"),
        ("{% for inputs in [1] %}{% endfor %}", "a loop's variable cannot be called 'inputs'"),
        ("{% for _meter in [1] %}{% endfor %}", "a loop's variable cannot be called '_meter'"),
        ("{% for x in [[1]] recursive %}{% endfor %}", "recursive loops"),
        ("{{ 1 + 'a' }}", "the template fails"),
        ("{{ inputs", "not a valid template"),
        ("{% if %}", "not a valid template"),
        ("{{ " + "not " * 9_000 + "1 }}", "too complicated"),
        ("{{ " + "1+" * 9_000 + "1 }}", "too complicated"),
        ("{{ " + "(" * 9_000 + "1 }}", "too complicated"),
        ("{{ " + "9" * 9_000 + " }}", "too complicated"),
        ("{% for a in [1] %}" * 60 + "{% endfor %}" * 60, "too complicated"),
    ],
)
def test_a_template_can_reach_nothing_else(template: str, said: str) -> None:
    assert said in refusal(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999999) %}x{% endfor %}",
        "{% for a in range(200) %}{% for b in range(200) %}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{{ inputs.x }}{% endfor %}",
        "{% for a in range(9999) %}{% if 'zz' in inputs.x %}{% endif %}{% endfor %}",
        "{% for a in range(9999) %}{% if inputs.x | lines | sort %}{% endif %}{% endfor %}",
        "{% for a in range(9999) %}{% if inputs.x + inputs.x %}{% endif %}{% endfor %}",
        "{{ inputs.x | replace('', inputs.x) }}",
        "{{ inputs.x | join(inputs.x) }}",
        "{{ inputs.x | indent(999999999) }}",
    ],
)
def test_a_template_that_asks_for_too_much_is_stopped(template: str) -> None:
    assert "the template asks for too much" in refusal(template, x=LARGE)


_BLOCKS = ["{{", "}}", "{%", "%}", "for x in", "if", "else", "endif", "endfor", "range(3)", "loop"]
_TERMS = ["inputs", "outputs", ".a", "['a']", "|", "lines", "upper", "replace('a','b')", "1", "'a'"]
_SIGNS = ["+", "-", "(", ")", " ", "not", "is", "in"]


@UNHURRIED
@given(st.lists(st.sampled_from(_BLOCKS + _TERMS + _SIGNS) | st.text(max_size=3), max_size=25).map(" ".join))
def test_no_template_ends_in_anything_but_a_text_or_its_problems(template: str) -> None:
    try:
        outcome = render(template, {"a": "some text"}, {"a": "an output"})
    except BlueprintError as error:
        outcome = str(error)
    assert " at 0x" not in outcome


@UNHURRIED
@given(st.text(), st.text())
def test_what_is_put_in_comes_out_unchanged(value: str, output: str) -> None:
    assert render("{{ inputs.a }}{{ outputs.b }}", {"a": value}, {"b": output}) == value + output
