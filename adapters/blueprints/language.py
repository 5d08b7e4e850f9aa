"""The template language of prompts: Jinja in its sandbox, with few filters, and every turn and character counted."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from jinja2 import StrictUndefined, Template, nodes, pass_context
from jinja2.exceptions import TemplateRuntimeError
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_OUTPUT = 4_194_304
"""Characters of one rendered prompt."""
MAX_TURNS = 10_000
"""Turns of all its loops together."""
MAX_WORK = 16 * MAX_OUTPUT
"""Characters that its filters and sums may handle."""

Scalar = str | int | Decimal
TESTS = ("defined", "divisibleby", "eq", "even", "in", "ne", "none", "number", "odd", "string", "undefined")
_METER = "_meter"
_TURNS = "_turns"
_WEIGHED = "_weighed"


class TooMuch(TemplateRuntimeError):
    """A template asks for more than a prompt can need."""


class Meter:
    """Counts what one rendering does, and stops it."""

    def __init__(self) -> None:
        self._spent = {"turns of its loops": 0, "characters of work": 0, "characters of output": 0}

    def turn(self) -> None:
        self._spend("turns of its loops", 1, MAX_TURNS)

    def work(self, characters: int) -> None:
        self._spend("characters of work", characters, MAX_WORK)

    def output(self, characters: int) -> None:
        self._spend("characters of output", characters, MAX_OUTPUT)

    def _spend(self, what: str, amount: int, limit: int) -> None:
        self._spent[what] += amount
        if self._spent[what] > limit:
            raise TooMuch(f"it needs more than {limit:,} {what}")


class Names:
    """Inputs or outputs as a template sees them: names only, each dash also spelled as an underscore."""

    __slots__ = ("_spellings", "_values")

    def __init__(self, values: Mapping[str, Scalar]) -> None:
        self._values = dict(values)
        self._spellings = {plain_name(name): name for name in values}

    def __getitem__(self, name: str) -> Scalar:
        return self._values[self._spellings[plain_name(name)]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """Jinja without loaders, globals or calls; what is left of it is counted."""

    intercepted_binops = frozenset({"+", "-"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
        self.filters = {name: _counted(function) for name, function in FILTERS.items()}
        self.filters |= {_TURNS: _turns, _WEIGHED: _weighed}
        self.tests = {name: self.tests[name] for name in TESTS}
        self.globals = {"range": _range}

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute) if isinstance(obj, Names) else super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        try:
            return obj[argument]  # and nothing else: Jinja would go on to attributes
        except (LookupError, TypeError, AttributeError):
            return self.undefined(f"there is no '{argument}' here")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        context[_METER].work(_size(left) + _size(right))
        return super().call_binop(context, operator, left, right)

    def compiled(self, tree: nodes.Template) -> Template:
        """A runnable template from a tree that was checked; its loops and comparisons are counted too."""
        for loop in tree.find_all(nodes.For):
            loop.iter = self._through(_TURNS, loop.iter)
        for operand in tree.find_all(nodes.Operand):
            operand.expr = self._through(_WEIGHED, operand.expr)
        return Template.from_code(self, self.compile(tree), self.make_globals(None))

    def _through(self, name: str, value: nodes.Node) -> nodes.Filter:
        return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno, environment=self)

    def run(self, template: Template, inputs: Mapping[str, Scalar], outputs: Mapping[str, str]) -> str:
        """The text that the template makes of these values."""
        meter = Meter()
        parts: list[str] = []
        for part in template.generate({"inputs": Names(inputs), "outputs": Names(outputs), _METER: meter}):
            meter.output(len(part))
            parts.append(part)
        return "".join(parts)


def plain_name(name: str) -> str:
    """The one spelling under which a name is compared."""
    return name.replace("-", "_")


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    @pass_context
    def counted(context: Context, value: Any, *arguments: Any) -> Any:
        context[_METER].work(1 + _size(value) + sum(map(_size, arguments)) + _growth(function, value, arguments))
        return function(value, *arguments)

    return counted


def _growth(function: Callable[..., Any], value: Any, arguments: Sequence[Any]) -> int:
    """How much longer than what it is given a filter's answer may be."""
    if function is _replace and len(arguments) == 2:
        return str(value).count(str(arguments[0])) * len(str(arguments[1]))
    if function is _join and arguments:
        return len(value) * len(str(arguments[0]))
    if function is _indent and arguments:
        return (str(value).count("\n") + 1) * max(0, int(arguments[0]))
    return 0


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list | tuple):
        return len(value) + sum(len(item) for item in value if isinstance(item, str))
    return 1


@pass_context
def _turns(context: Context, values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        context[_METER].turn()
        yield value


@pass_context
def _weighed(context: Context, value: Any) -> Any:
    context[_METER].work(_size(value))
    return value


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_TURNS:
        raise TooMuch(f"a range has at most {MAX_TURNS:,} numbers")
    return numbers


def _default(value: Any, other: Any) -> Any:
    return other if isinstance(value, Undefined) or value == "" else value


def _first(value: Any) -> Any:
    return next(iter(value), "")


def _last(value: Any) -> Any:
    return list(value)[-1] if len(value) else ""


def _indent(value: str, width: int = 4) -> str:
    return str(value).replace("\n", "\n" + " " * width)


def _items(value: Names) -> list[tuple[str, Scalar]]:
    return [(name, value[name]) for name in value]


def _join(value: Iterable[Any], between: str = "") -> str:
    return str(between).join(str(item) for item in value)


def _lines(value: str) -> list[str]:
    return str(value).splitlines()


def _replace(value: str, old: str, new: str) -> str:
    return str(value).replace(str(old), str(new))


def _truncate(value: str, length: int = 255) -> str:
    text = str(value)
    return text if len(text) <= length else text[:length].rstrip() + "..."


FILTERS: Mapping[str, Callable[..., Any]] = {
    "default": _default,
    "first": _first,
    "indent": _indent,
    "items": _items,
    "join": _join,
    "last": _last,
    "length": len,
    "lines": _lines,
    "lower": lambda value: str(value).lower(),
    "replace": _replace,
    "sort": sorted,
    "title": lambda value: str(value).title(),
    "trim": lambda value: str(value).strip(),
    "truncate": _truncate,
    "upper": lambda value: str(value).upper(),
    "wordcount": lambda value: len(str(value).split()),
}
