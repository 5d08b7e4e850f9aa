"""What can go wrong, in words of the product; no transport, no database.

ToyboxError
├── NotFound       there is no such thing, or the caller may not know of it
├── NotAllowed     the caller lacks the permission
├── Conflict       the thing has changed since the caller looked at it
├── Refused        the command makes no sense in the present state, or its input is wrong
│   └── BudgetExhausted   the money or tokens asked for are not there
└── Unavailable    try again later: overloaded, stopping, or the database is away

`api/errors.py` maps each to an HTTP status; the CLI maps each to an exit code.
"""

from collections.abc import Mapping


class ToyboxError(Exception):
    """Every error that a caller is meant to see. Its text says what to do next."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, **details: object) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.details: Mapping[str, object] = details


class NotFound(ToyboxError):
    """There is no such thing, or the caller may not know of it."""

    code = "not_found"


class NotAllowed(ToyboxError):
    """The caller lacks the permission."""

    code = "not_allowed"


class Conflict(ToyboxError):
    """The thing has changed since the caller looked at it."""

    code = "conflict"


class Refused(ToyboxError):
    """The command makes no sense in the present state, or its input is wrong."""

    code = "refused"


class BudgetExhausted(Refused):
    """The money or tokens asked for are not there."""

    code = "budget_exceeded"


class Unavailable(ToyboxError):
    """Try again later: overloaded, stopping, or the database is away."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after: float = 1.0, code: str | None = None, **details: object) -> None:
        super().__init__(message, code=code, **details)
        self.retry_after = retry_after
