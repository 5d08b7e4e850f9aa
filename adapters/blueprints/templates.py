"""Prompts as templates: what they may refer to is checked when a blueprint is loaded, long before they are rendered."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError, TemplateSyntaxError
from jinja2.meta import find_undeclared_variables

from adapters.blueprints.language import FILTERS, TESTS, PromptEnvironment, Scalar, TooMuch, plain_name
from domain.blueprints import AgentSpec, Blueprint, BlueprintError, Path, Problem, closest

_ENVIRONMENT = PromptEnvironment()
_ROOTS = ("inputs", "outputs")
_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
_ALLOWED = frozenset(
    {
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For),
        *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Getattr, nodes.Getitem, nodes.Slice),
        *(nodes.Filter, nodes.Test, nodes.Call, nodes.CondExpr, nodes.Compare, nodes.Operand),
        *(nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Add, nodes.Sub),
    }
)
_JINJAS_OWN = frozenset({"self", "super", "caller", "varargs", "kwargs"})
_KNOWN = "templates know `inputs`, `outputs`, `range` and the variables of their loops; spell a dash as an underscore"


class Reference(NamedTuple):
    """A template's use of an input or of an agent's output."""

    root: str
    name: str
    line: int


@dataclass(frozen=True, slots=True)
class _Compiled:
    template: Template
    references: tuple[Reference, ...]
    uses_every_output: bool
    """It loops over them, or asks for one whose name it makes up."""


def render(template: str, inputs: Mapping[str, Scalar], outputs: Mapping[str, str]) -> str:
    """The text of a prompt; whatever keeps it from being made is a `BlueprintError`."""
    compiled = _compiled(template)
    given = {"inputs": {plain_name(name) for name in inputs}, "outputs": {plain_name(name) for name in outputs}}
    missing = [ref for ref in compiled.references if plain_name(ref.name) not in given[ref.root]]
    if missing:
        raise BlueprintError(
            [Problem(f"the template uses {ref.root}.{ref.name}, which is not there", "provide it") for ref in missing]
        )
    try:
        return _ENVIRONMENT.run(compiled.template, inputs, outputs)
    except TooMuch as error:
        raise BlueprintError(
            [Problem(f"the template asks for too much: {error}", "loop less, or shorten it")]
        ) from error
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        # A template's author chooses the operands, so the operators' own errors are theirs too.
        raise BlueprintError([Problem(f"the template fails: {error}", "correct the expression")]) from error


def outputs_used(template: str, agents: Collection[str]) -> Collection[str]:
    """Those of the agents whose output the template uses; a template that is not valid is a `BlueprintError`."""
    compiled = _compiled(template)
    if compiled.uses_every_output:
        return agents
    used = {plain_name(each.name) for each in compiled.references if each.root == "outputs"}
    return [each for each in agents if plain_name(each) in used]


def check_templates(blueprint: Blueprint) -> list[Problem]:
    """Everything that would keep a prompt of this blueprint from being rendered, whatever its inputs are."""
    problems: list[Problem] = []
    for at, phase in enumerate(blueprint.phases):
        for index, agent in enumerate(phase.agents):
            for field in ("instructions", "prompt"):
                path = ("phases", at, "agents", index, field)
                problems.extend(_problems_of(blueprint, agent, str(getattr(agent, field)), path))
    return problems


def _problems_of(blueprint: Blueprint, agent: AgentSpec, text: str, path: Path) -> Iterator[Problem]:
    try:
        references = _compiled(text).references
    except BlueprintError as error:
        for found in error.problems:
            message = f"{path[-1]} of agent '{agent.name}': {found.message}"
            yield Problem(message, found.fix, path, text_line=found.text_line)
        return
    inputs = {plain_name(name): name for name in blueprint.inputs}
    agents = {plain_name(other.name): other.name for other in blueprint.agents}
    before = blueprint.ancestors(agent.name)
    for root, asked, line in references:
        name = plain_name(asked)
        if root == "inputs":
            if name not in inputs:
                message = f"agent '{agent.name}' uses the input '{asked}', which is not declared"
                yield Problem(message, closest(asked, inputs.values(), "input"), path, text_line=line)
        elif name not in agents:
            message = f"agent '{agent.name}' uses the output of '{asked}', which does not exist"
            others = before or {other for other in agents.values() if other != agent.name}
            yield Problem(message, closest(asked, others, "agent"), path, text_line=line)
        elif agents[name] == agent.name:
            message, fix = f"agent '{agent.name}' uses its own output", "use the output of an agent it depends on"
            yield Problem(message, fix, path, text_line=line)
        elif agents[name] not in before:
            message = f"agent '{agent.name}' uses the output of '{agents[name]}' but does not depend on it"
            yield Problem(message, f"add '{agents[name]}' to its depends_on", path, text_line=line)


@lru_cache(maxsize=512)
def _compiled(text: str) -> _Compiled:
    try:
        tree = _ENVIRONMENT.parse(text)
        if problems := list(_part_problems(tree)):
            raise BlueprintError(problems)
        references = tuple(_references(tree))
        every = _times_said(tree, "outputs") > sum(each.root == "outputs" for each in references)
        return _Compiled(_ENVIRONMENT.compiled(tree), references, every)
    except TemplateSyntaxError as error:
        fix = "text that is not meant as a template goes between {% raw %} and {% endraw %}"
        problem = Problem(f"not a valid template: {error.message}", fix, text_line=error.lineno)
        raise BlueprintError([problem]) from error
    except (SyntaxError, RecursionError, MemoryError, OverflowError, ValueError) as error:
        # Python's own compiler is behind Jinja's and gives up like this on expressions that are nested too deeply.
        raise BlueprintError([Problem("the template is too complicated", "nest its parts less deeply")]) from error


def _part_problems(tree: nodes.Template) -> Iterator[Problem]:
    """Whatever in a template could call, assign, import or reach into an object."""
    for node in tree.find_all(nodes.Node):
        if found := _part_problem(node):
            yield Problem(*found, text_line=node.lineno)
            return  # the rest may only follow from it
    unknown = find_undeclared_variables(tree) - {*_ROOTS, "range"}
    for node in tree.find_all(nodes.Name):
        if node.name in unknown:
            unknown.remove(node.name)
            yield Problem(f"the template uses '{node.name}', which is not known", _KNOWN, text_line=node.lineno)


def _part_problem(node: nodes.Node) -> tuple[str, str] | None:
    kind = type(node)
    if kind not in _ALLOWED:
        said = kind.__name__.lower()
        return (
            f"'{said}' is not supported in templates",
            "use {{ }}, {% if %} and {% for %} with the documented filters",
        )
    check = _CHECKS.get(kind)
    return check(node) if check else None


def _filter_problem(node: nodes.Filter) -> tuple[str, str] | None:
    if node.name not in FILTERS:
        return f"there is no filter '{node.name}'", closest(node.name, FILTERS, "filter")
    return None


def _test_problem(node: nodes.Test) -> tuple[str, str] | None:
    if node.name not in TESTS:
        return f"there is no test '{node.name}'", closest(node.name, TESTS, "test")
    return None


def _call_problem(node: nodes.Call) -> tuple[str, str] | None:
    if not _is_name(node.node, "range"):
        return "functions cannot be called in templates", "use a filter, for instance {{ inputs.text | upper }}"
    return None


def _attribute_problem(node: nodes.Getattr) -> tuple[str, str] | None:
    if _is_name(node.node, *_ROOTS) or (_is_name(node.node, "loop") and node.attr in _LOOP):
        return None
    return f"'.{node.attr}' cannot be reached", "only inputs, outputs and loop have names inside"


def _loop_problem(node: nodes.For) -> tuple[str, str] | None:
    return ("recursive loops are not supported", "use a plain loop") if node.recursive else None


def _name_problem(node: nodes.Name) -> tuple[str, str] | None:
    if node.name in _JINJAS_OWN:
        return f"'{node.name}' cannot be used", _KNOWN
    if node.ctx == "store" and (node.name in (*_ROOTS, "range") or node.name.startswith("_")):
        return f"a loop's variable cannot be called '{node.name}'", "give it another name"
    return None


def _output_problem(node: nodes.Output) -> tuple[str, str] | None:
    if any(_is_name(child, *_ROOTS, "range", "loop") for child in node.nodes):
        return "all inputs or outputs at once are not a text", "name one, for instance {{ inputs.topic }}"
    return None


_CHECKS: Mapping[type[nodes.Node], Callable[[Any], tuple[str, str] | None]] = {
    nodes.Filter: _filter_problem,
    nodes.Test: _test_problem,
    nodes.Call: _call_problem,
    nodes.Getattr: _attribute_problem,
    nodes.For: _loop_problem,
    nodes.Name: _name_problem,
    nodes.Output: _output_problem,
}


def _references(tree: nodes.Template) -> Iterator[Reference]:
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if not isinstance(node.node, nodes.Name) or node.node.name not in _ROOTS:
            continue
        if isinstance(node, nodes.Getattr):
            yield Reference(node.node.name, node.attr, node.lineno)
        elif isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            yield Reference(node.node.name, node.arg.value, node.lineno)


def _times_said(tree: nodes.Template, name: str) -> int:
    return sum(node.name == name for node in tree.find_all(nodes.Name))


def _is_name(node: nodes.Node, *names: str) -> bool:
    return isinstance(node, nodes.Name) and node.name in names
