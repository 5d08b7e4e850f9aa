"""What the model refuses, said in the words of whoever wrote the blueprint: file, line, fix."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from adapters.blueprints.source import Node
from domain.blueprints import Blueprint, Path, Problem, closest, spelled
from domain.values import ONE_LINE

_PATTERNS = {
    "^[a-z][a-z0-9-]": "use lower-case letters, digits and dashes, starting with a letter",
    "^[a-z][a-z0-9_-]": "use lower-case letters, digits, dashes and underscores, starting with a letter",
    "^[A-Za-z0-9][A-Za-z0-9._-]": "use a plain file name such as report.md, without folders",
    "^[a-z]+/": "write a media type such as text/markdown",
    "^[1-9][0-9]{0,5}[smhd]$": "write a number and s, m, h or d, for instance 24h",
    ONE_LINE: "write one line without control characters",
    "^[^\\u0000": "remove the control characters",
}
_SAYINGS: Mapping[str, tuple[str, str]] = {
    "missing": ("{owner} has no '{key}'", "add `{key}:`"),
    "string_too_short": ("{what} is empty", "write a text, or remove the field"),
    "string_too_long": ("{what} is too long", "at most {max_length} characters are allowed"),
    "too_long": ("{what} has too many entries", "at most {max_length} are allowed"),
    "literal_error": ("{what} cannot be {shown}", "use {expected}"),
    "greater_than_equal": ("{what} is out of range: {shown}", "it must be at least {ge}"),
    "greater_than": ("{what} is out of range: {shown}", "it must be more than {gt}"),
    "less_than_equal": ("{what} is out of range: {shown}", "it must be at most {le}"),
    "less_than": ("{what} is out of range: {shown}", "it must be less than {lt}"),
    "int_type": ("{what} should be a whole number, not {shown}", "write digits only, without quotes"),
    "bool_type": ("{what} should be true or false, not {shown}", "write true or false, without quotes"),
    "tuple_type": ("{what} should be a list, not {shown}", "write [one, another], or a line with `- ` for each"),
    "model_type": ("{what} should be a mapping of fields, not {shown}", "write `field: value` lines under it"),
    "mapping_type": ("{what} should be a mapping of names, not {shown}", "write `name:` lines under it"),
    "amount": ("{what} is not an amount of money: {shown}", "{fix}"),
    "fraction": ("{what} is not a plain decimal number: {shown}", "{fix}"),
}


def placed(problems: Iterable[Problem], root: Node, source: str) -> list[Problem]:
    """The problems with the lines of the source they speak of, in the order of those lines."""
    found: list[Problem] = []
    for problem in problems:
        node, line, path = root.find(problem.path)
        if path == problem.path and node.style == "|" and problem.text_line is not None:
            line = node.line + problem.text_line  # the text of a block begins on the line after its sign
        found.append(Problem(problem.message, problem.fix, problem.path, source, line, problem.text_line))
    return sorted(found, key=lambda problem: problem.line or 0)


def translated(error: ValidationError, root: Node) -> Iterator[Problem]:
    """One problem for each value that the model refused."""
    seen: set[tuple[object, ...]] = set()
    for detail in error.errors(include_url=False):
        node, _, path = root.find(detail["loc"])
        kind = detail["type"]
        if kind in ("missing", "extra_forbidden"):
            path = tuple(step for step in detail["loc"] if step != "[key]")
        if path in seen:
            continue  # each branch of a union complains about the same value
        seen.add(path)
        message, fix = _said(detail, node, path, root)
        yield Problem(message, fix, path)


def _said(detail: ErrorDetails, node: Node, path: Path, root: Node) -> tuple[str, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    key = str(path[-1]) if path else ""
    owner = _owner(path[:-1], root)
    if "[key]" in detail["loc"]:
        return f"{owner} has a name that cannot be used: '{_cut(key)}'", _pattern_fix(context, key)
    if kind == "extra_forbidden":
        return f"{owner} has an unknown field '{_cut(key)}'", closest(key, _fields(path[:-1]), "field")
    if kind == "string_pattern_mismatch":
        return f"'{spelled(path)}' cannot be {_shown(node)}", _pattern_fix(context, node.raw)
    if kind == "string_type":
        return f"'{spelled(path)}' should be text, not {_shown(node)}", _quotes_fix(node)
    message, fix = _SAYINGS.get(kind, ("{what}: {msg}", "see docs/contracts/blueprint.v1.json"))
    words = {"what": f"'{spelled(path)}'", "key": key, "owner": owner, "shown": _shown(node), "msg": detail["msg"]}
    return message.format_map(words | context), fix.format_map(words | context)


def _quotes_fix(node: Node) -> str:
    if node.entries is not None or node.items is not None:
        return "a text that starts with { or [ needs quotes, or `|` and a new line"
    return "write a text, or remove the field" if node.value is None else f'put it in quotes: "{_cut(node.raw)}"'


def _shown(node: Node) -> str:
    if node.entries is not None:
        return "a mapping"
    if node.items is not None:
        return "a list"
    return "nothing" if node.value is None else f"'{_cut(node.raw)}'"


def _cut(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= 60 and line == text else f"{line[:60]}..."


def _pattern_fix(context: Mapping[str, Any], raw: str) -> str:
    pattern = str(context.get("pattern", ""))
    fix = next((said for start, said in _PATTERNS.items() if pattern.startswith(start)), f"it must match {pattern}")
    slug = re.sub(r"[^a-z0-9]+", "-", raw.lower()).strip("-0123456789")
    if pattern.startswith("^[a-z][a-z0-9") and 0 < len(slug) <= 60:
        return f"{fix}: {slug}"
    return fix


def _owner(path: Path, root: Node) -> str:
    """What a person would call the mapping at the path."""
    if not path:
        return "the blueprint"
    node, _, _ = root.find(path)
    if isinstance(path[-1], int) and node.entries is not None and len(path) > 1:
        named = node.entries.get("name")
        if named is not None and named[1].raw:
            return f"{str(path[-2]).removesuffix('s')} '{_cut(named[1].raw)}'"
    if len(path) == 2 and path[0] == "inputs":
        return f"input '{path[1]}'"
    return f"'{spelled(path)}'"


def _fields(path: Path) -> list[str]:
    """The fields that the model knows at a path."""
    model: type[BaseModel] = Blueprint
    for step in path:
        if isinstance(step, str) and step in model.model_fields:
            model = next(_models(model.model_fields[step].annotation), model)
    return list(model.model_fields)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
