"""The scripted provider's prose: a digest of the prompt made of the prompt's own lines, the same every time."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
_LABEL = re.compile(r"^(?:\*\*)?([A-Z][\w /,'()-]{1,58}?)(?:\*\*)?:(?:\*\*)?$")
_ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+(.*)$")
_FENCE = re.compile(r"^\s*(?:```|~~~)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'A-Z0-9])")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]{3,}")
_CODE = re.compile(r"\b(?:def|class|func|function|except|raise|return|import|TODO|FIXME|eval|exec)\b|==|!=")
_ORDER = re.compile(
    r"^(?:please\s+)?(?:write|draft|produce|create|prepare|summari[sz]e|list|review|make|give|compile)\s+"
    r"(?:up\s+)?(?:me\s+|us\s+)?(?:(?:a|an|the|some)\s+)?",
    re.IGNORECASE,
)
_COMMON = frozenset(
    re.findall(
        r"\S+",
        """about above after again also always answer because been before being below between both could does each
    every from have here into just like line lines list make more most must never only other over please same should
    some such than that their them then there these they this those through under until used using very want well
    were what when where which while will with within without would write your you're""",
    )
)
_OPENINGS = (
    "What the material says, point by point:",
    "The points that matter, in the order they were given:",
    "Drawn from the material supplied:",
    "In short, and in its own words:",
)
_SIGNATURE = "_scripted:"
"""Begins the last line of every digest; one that comes back in a later agent's prompt is passed over."""
_SECTIONS, _POINTS, _POINT_LENGTH, _TITLE_LENGTH, _TERMS = 12, 8, 220, 80, 6


@dataclass(slots=True)
class _Section:
    title: str
    items: list[str] = field(default_factory=list[str])
    prose: list[str] = field(default_factory=list[str])
    code: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


def digest_of(prompt: str, seed: int) -> str:
    """A title, the prompt's sections as bullet points, and its key terms."""
    order, sections = _read(prompt)
    terms = _terms(prompt)
    weights = dict(terms)
    lines = [f"# {_title(order)}", "", Random(seed).choice(_OPENINGS)]  # noqa: S311 - a choice of words, not a secret
    told = [(section.title, points) for section in sections if (points := _points(section, weights))]
    for title, points in told[:_SECTIONS]:
        lines += ["", f"## {title}", *(f"- {point}" for point in points)]
    if not told:
        lines += ["", f"- {_short(order) or 'The prompt is empty.'}"]
    if terms:
        lines += ["", "## Key terms", ", ".join(f"{term} ({count})" for term, count in terms[:_TERMS])]
    lines += ["", f"{_SIGNATURE} every line is taken from the prompt; no model was asked._"]
    return "\n".join(lines) + "\n"


def shortened(digest: str, most_bytes: int) -> str | None:
    """The digest with as many of its first lines as fit, signature included; None where not even a point does."""
    *lines, signature = digest.splitlines(keepends=True)
    left = most_bytes - len(signature.encode())
    kept = list[str]()
    for line in lines:
        left -= len(line.encode())
        if left < 0:
            break
        kept.append(line)
    told = any(line.startswith("- ") for line in kept)
    return "".join([*kept, signature]) if told else None


def _read(prompt: str) -> tuple[str, list[_Section]]:
    """The order (the first paragraph) and the sections that follow it."""
    rows = [row for row in prompt.strip().splitlines() if not row.startswith(_SIGNATURE)]
    order = list[str]()
    while rows and rows[0].strip() and not _begins_material(rows[0]):
        order.append(rows.pop(0).strip())
    section = _Section("Main points")
    sections, in_code, number = [section], False, 0
    for row in rows:
        if _FENCE.match(row):
            in_code, number = not in_code, 0
        elif in_code:
            number += 1
            section.code.append((number, row.strip()))
        elif (heading := _HEADING.match(row) or _LABEL.match(row.strip())) is not None:
            section = _Section(_short(heading[1], _TITLE_LENGTH))
            sections.append(section)
        elif (item := _ITEM.match(row)) is not None:
            section.items.append(item[1].strip())
        elif row.startswith((" ", "\t")) and section.items and row.strip():
            section.items[-1] += f" {row.strip()}"
        else:
            section.prose.append(row.strip())
    return " ".join(order), sections


def _begins_material(row: str) -> bool:
    return any(pattern.match(row) for pattern in (_HEADING, _ITEM, _FENCE))


def _points(section: _Section, weights: dict[str, int]) -> list[str]:
    points = [_short(item) for item in section.items]
    points += _best(_sentences(section.prose), weights, _POINTS - min(len(points), _POINTS))
    points += [f"line {number}: `{_short(code, 120)}`" for number, code in section.code if _CODE.search(code)][:_POINTS]
    return points[: 3 * _POINTS]


def _sentences(prose: Sequence[str]) -> list[str]:
    paragraphs = " ".join(row or "\n" for row in prose).split("\n")
    return [part.strip() for text in paragraphs for part in _SENTENCE.split(text.strip()) if len(part.split()) > 2]


def _best(sentences: list[str], weights: dict[str, int], most: int) -> list[str]:
    """The sentences richest in the prompt's frequent words, in their own order."""

    def worth(index: int) -> tuple[float, int]:
        words = _WORD.findall(sentences[index].lower())
        return (-sum(weights.get(word, 0) for word in words) / (len(words) + 4), index)

    return [_short(sentences[index]) for index in sorted(sorted(range(len(sentences)), key=worth)[:most])]


def _terms(prompt: str) -> list[tuple[str, int]]:
    counts = Counter(word for word in _WORD.findall(prompt.lower()) if word not in _COMMON)
    return sorted(((term, count) for term, count in counts.items() if count > 1), key=lambda pair: (-pair[1], pair[0]))


def _title(order: str) -> str:
    sentence = _SENTENCE.split(order, maxsplit=1)[0] if order else ""
    bare = _ORDER.sub("", sentence).strip().rstrip(".:;!")
    title = _short(bare or "Digest", _TITLE_LENGTH)
    return title[:1].upper() + title[1:]


def _short(text: str, most: int = _POINT_LENGTH) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= most else plain[: most - 1].rsplit(" ", 1)[0] + "…"
