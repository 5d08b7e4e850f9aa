"""The permissions that exist: those that commands name, those that queries declare, and what they refuse to spell."""

from collections.abc import Iterable
from difflib import get_close_matches

from commands.handling import COMMANDS
from domain.errors import Refused

_DECLARED: set[str] = set()


def declare(*permissions: str) -> None:
    """Make permissions of queries known, such as `costs.read`; the read permission of a command's context is."""
    _DECLARED.update(permissions)


def known_permissions() -> frozenset[str]:
    """Every permission that a key can be given, patterns included."""
    named = _DECLARED | {command.PERMISSION for command in COMMANDS.values()}
    contexts = {each.partition(".")[0] for each in named}
    return frozenset(named | {"*"} | {f"{context}.{verb}" for context in contexts for verb in ("*", "read")})


def check_permissions(wanted: Iterable[str]) -> list[str]:
    """The same, each once and in order; Refused when there are none or one does not exist."""
    asked, known = sorted(set(wanted)), known_permissions()
    if not asked:
        raise Refused("a key needs at least one permission, for instance projects.read", code="no_permissions")
    for each in asked:
        if each not in known:
            near = get_close_matches(each, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(known))}"
            raise Refused(f"there is no permission {each}: {hint}", code="unknown_permission", permission=each)
    return asked
