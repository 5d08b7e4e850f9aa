"""Blueprint text to plain values that remember their lines: a narrow, safe YAML, of which JSON is a part."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Never

import yaml

from domain.blueprints import BlueprintError, Path, Problem

MAX_BYTES = 1_048_576
MAX_NODES = 20_000
MAX_DEPTH = 32
MAX_ALIASES = 50

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_MOST_DIGITS = 30
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_LOOK = "look at the quotes and the indentation here; a text with ':', '#' or '{' needs quotes, or `|` and a new line"


@dataclass(slots=True)
class Node:
    """A value of the source and where it stands."""

    line: int
    value: str | int | Decimal | bool | None = None
    raw: str = ""
    style: str | None = None
    entries: dict[str, tuple[int, "Node"]] | None = None
    """Of a mapping: the line of each key, and its value."""
    items: list["Node"] | None = None
    size: int = 1
    """How many values it is when its aliases are written out."""
    height: int = 0

    def plain(self) -> Any:
        """The value alone, of the types that strict models take: dict, tuple, str, int, Decimal, bool, None."""
        if self.entries is not None:
            return {key: node.plain() for key, (_, node) in self.entries.items()}
        if self.items is not None:
            return tuple(node.plain() for node in self.items)
        return self.value

    def find(self, path: Path) -> tuple["Node", int, Path]:
        """The node at the path, or the last one on the way to it; the line to show; how far the path led."""
        node, line = self, self.line
        for depth, step in enumerate(path):
            if node.entries is not None and isinstance(step, str) and step in node.entries:
                line, node = node.entries[step]
            elif node.items is not None and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                line = node.line
            else:
                return node, line, path[:depth]
        return node, line, path


def read(text: str, *, source: str) -> Node:
    """The one document in the text; whatever is wrong with it is a `BlueprintError` with its line."""
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise BlueprintError([too_large(source)])
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("{") or source.endswith(".json"):
        text = _without_tabs(text, source)
    return _Composer(text, source).document()


def too_large(source: str) -> Problem:
    """What is said of a text beyond the limit."""
    return Problem("the blueprint is larger than 1 MiB", "move long texts to input files", (), source)


def _without_tabs(text: str, source: str) -> str:
    """JSON allows a tab between its parts, and only there; YAML does not."""
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        if not source.endswith(".json"):
            return text
        problem = Problem(
            f"not valid JSON: {error.msg}", "look at the commas and quotes here", (), source, error.lineno
        )
        raise BlueprintError([problem]) from error
    except RecursionError as error:
        raise BlueprintError([Problem("nested too deeply", f"at most {MAX_DEPTH} levels", (), source)]) from error
    return text.replace("\t", " ")


class _Composer:
    """Builds the tree from the parser's events; never constructs an object, counts all that it makes."""

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self._anchors: dict[str, Node | None] = {}
        self._aliases = 0
        self._nodes = 0

    def document(self) -> Node:
        try:
            return self._document()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = error.problem or error.context or "unreadable"
            self._refuse(f"not valid YAML: {said}", _LOOK, 1 if mark is None else mark.line + 1)
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, int(error.position)) + 1
            self._refuse("a character that text may not contain", "remove the control character", line)
        except (ValueError, OverflowError) as error:
            # The scanner converts escapes such as "\\U99999999" and version numbers without checking their range.
            self._refuse(f"not valid YAML: {error}", "look for a strange escape or directive", None)

    def _document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._refuse("a second document begins here", "keep one blueprint in a file", _line(event))
                root = self._node(next(self._events), 0)
        if root is None or (root.entries is None and root.items is None and root.value is None):
            self._refuse("the blueprint is empty", "start with `blueprint: 1`", None)
        if root.entries is None:
            self._refuse("a blueprint is a mapping of fields", "start with `blueprint: 1`", root.line)
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line, depth)
        self._check_depth(depth, line)
        self._count(1, line)
        tag, anchor = getattr(event, "tag", None), getattr(event, "anchor", None)
        if tag is not None:
            self._refuse(
                f"the tag '{tag}' is not allowed", "remove it; values are plain text, numbers, true, false", line
            )
        if anchor is not None:
            if anchor in self._anchors:
                self._refuse(f"the anchor '{anchor}' is defined twice", "give it another name", line)
            self._anchors[anchor] = None
        if isinstance(event, yaml.MappingStartEvent):
            node = self._mapping(line, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(line, depth)
        elif isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, line)
        else:  # pragma: no cover - the parser's grammar allows only these four here
            self._refuse("not valid YAML", _LOOK, line)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, anchor: str, line: int, depth: int) -> Node:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            self._refuse(f"more than {MAX_ALIASES} aliases", "write the values out, or put them in `defaults`", line)
        if anchor not in self._anchors:
            self._refuse(f"the alias '*{anchor}' has no anchor", f"define '&{anchor}' before it", line)
        node = self._anchors[anchor]
        if node is None:
            self._refuse(f"the alias '*{anchor}' stands inside its own anchor", "write the value out", line)
        self._count(node.size, line)
        self._check_depth(depth + node.height, line)
        return node

    def _mapping(self, line: int, depth: int) -> Node:
        entries: dict[str, tuple[int, Node]] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            at = _line(event)
            if not isinstance(event, yaml.ScalarEvent):
                fix = "text that starts with {{, [ or * needs quotes, or `|` and a new line"
                self._refuse("a key must be plain text", fix, at)
            key = self._checked(str(event.value), at)
            if event.anchor is not None or event.tag is not None:
                self._refuse(f"the key '{key}' has a tag or an anchor", "remove it", at)
            if key == "<<" and event.style is None:
                self._refuse("merge keys (<<) are not supported", "write the fields out, or use `defaults`", at)
            if key in entries:
                fix = f"keep one of them; the first is on line {entries[key][0]}"
                self._refuse(f"the key '{key}' appears twice", fix, at)
            entries[key] = (at, self._node(next(self._events), depth + 1))
        size, height = _extent([child for _, child in entries.values()])
        return Node(line, entries=entries, size=size, height=height)

    def _sequence(self, line: int, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        size, height = _extent(items)
        return Node(line, items=items, size=size, height=height)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Node:
        raw = str(event.value)
        if event.style is not None:
            text = self._checked(raw, line)
            return Node(line, text, text, event.style)
        return Node(line, self._resolved(raw, line), raw)

    def _resolved(self, raw: str, line: int) -> str | int | Decimal | bool | None:
        if raw in _WORDS:
            return _WORDS[raw]
        if not _DECIMAL.fullmatch(raw):
            return raw
        if len(raw) > _MOST_DIGITS or abs((number := Decimal(raw)).adjusted()) > _MOST_DIGITS:
            self._refuse("a number is out of range", "put it in quotes if it is meant as text", line)
        return int(raw) if _INTEGER.fullmatch(raw) else number

    def _checked(self, text: str, line: int) -> str:
        try:
            # JSON escapes a character beyond U+FFFF as two halves, which the scanner leaves apart.
            whole = text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._refuse("text contains half a character", "remove the lone surrogate", line)
        if "\0" in whole:
            self._refuse("text contains U+0000", "remove it", line)
        return whole

    def _count(self, nodes: int, line: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._refuse(f"more than {MAX_NODES:,} values", "split the blueprint; aliases count as written out", line)

    def _check_depth(self, depth: int, line: int) -> None:
        if depth > MAX_DEPTH:
            self._refuse("nested too deeply", f"at most {MAX_DEPTH} levels are allowed", line)

    def _refuse(self, message: str, fix: str, line: int | None) -> Never:
        raise BlueprintError([Problem(message, fix, (), self._source, line)])


def _extent(children: Sequence[Node]) -> tuple[int, int]:
    return 1 + sum(child.size for child in children), 1 + max((child.height for child in children), default=0)


def _line(event: yaml.Event) -> int:
    return int(event.start_mark.line) + 1
