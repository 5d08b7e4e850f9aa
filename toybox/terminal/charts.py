"""Charts of a terminal: bars and trends of so many columns; nothing where nobody looks."""

from collections.abc import Sequence

from rich.console import Console

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"
_PLAIN_LEVELS = "._-=+*#@"


def bar(value: float, most: float, width: int, console: Console) -> str:
    """A bar as long as its value is to the greatest one; empty where the output is no terminal."""
    if not console.is_terminal or most <= 0 or value <= 0:
        return ""
    eighths = max(1, round(value / most * width * 8))
    if console.options.ascii_only:
        return "#" * max(1, eighths // 8)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def sparkline(values: Sequence[float], width: int, console: Console) -> str:
    """How values go on, in at most so many columns: neighbours that share one are added up."""
    if not console.is_terminal or not values:
        return ""
    each = -(-len(values) // width)
    sums = [max(0.0, sum(values[start : start + each])) for start in range(0, len(values), each)]
    levels = _PLAIN_LEVELS if console.options.ascii_only else _LEVELS
    most = max(sums)
    return "".join(levels[round(value / most * (len(levels) - 1))] if most else levels[0] for value in sums)
