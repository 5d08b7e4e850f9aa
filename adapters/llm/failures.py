"""What a provider's refusal means: its kind, whether it can have cost anything, and when to come back."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import cast

from commands.models import FailureKind

_LONGEST_WORDS = 300
_LONGEST_WAIT = 7 * 24 * 3600.0

_NO_CREDIT = frozenset(
    {
        "billing_error",
        "billing_hard_limit_reached",
        "credit_balance_exhausted",
        "enforced_spend_limit_reached",
        "insufficient_quota",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
    }
)
_NO_CREDIT_WORDS = ("credit balance is too low", "specified api usage limits")
"""Anthropic answers these two as a plain `invalid_request_error`; only the words tell them apart."""

_BY_STATUS: Mapping[int, FailureKind] = {
    401: "authentication",
    402: "credit_exhausted",
    403: "authentication",
    404: "model_not_found",
    408: "timeout",
    409: "overloaded",
    425: "overloaded",
    429: "rate_limited",
    504: "timeout",
}
_BY_NAME: Mapping[str, FailureKind] = {
    "authentication_error": "authentication",
    "invalid_api_key": "authentication",
    "invalid_request_error": "invalid_request",
    "model_not_found": "model_not_found",
    "not_found_error": "model_not_found",
    "permission_error": "authentication",
    "rate_limit_error": "rate_limited",
    "rate_limit_exceeded": "rate_limited",
    "timeout_error": "timeout",
}
_REFUSED_UNREAD = frozenset({503, 529})
"""Server errors that say the request was not taken up at all."""

ADVICE: Mapping[FailureKind, str] = {
    "authentication": "check the provider's API key and what it is allowed to do",
    "credit_exhausted": "add credit or raise the spend limit at the provider",
    "model_not_found": "check the model's name, the provider's base URL, and what the key may use",
    "invalid_request": "check the model's name and the agent's AI config",
    "timeout": "allow the job more time, or ask for fewer output tokens",
    "unreachable": "check the provider's base URL, and that the server is running",
    "malformed": "check that the base URL is an API of this kind and not a web page",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a refusal means to the job that met it."""

    kind: FailureKind
    may_cost: bool
    words: str


def judge(status: int, body: object) -> Verdict:
    """Read an error answer, or an error that arrived inside a stream (status 200)."""
    error = error_in(body)
    names = _names(error)
    words = _words(error, body)
    if not names.isdisjoint(_NO_CREDIT) or any(sign in words.lower() for sign in _NO_CREDIT_WORDS):
        return Verdict("credit_exhausted", may_cost=status < 300, words=words)
    if status < 300:
        return Verdict(_kind_inside_a_stream(error, names), may_cost=True, words=words)
    if 300 <= status < 400:
        return Verdict("invalid_request", may_cost=False, words=words or "the address redirects elsewhere")
    kind = _BY_STATUS.get(status, "overloaded" if status >= 500 else "invalid_request")
    refused = status < 500 and kind not in ("timeout", "overloaded")
    return Verdict(kind, may_cost=not refused and status not in _REFUSED_UNREAD, words=words)


def error_in(body: object) -> Mapping[str, object] | None:
    """The error that a body describes, in any of the vendors' spellings; None when it describes none."""
    if not isinstance(body, Mapping):
        return None
    whole = cast("Mapping[str, object]", body)
    inner = whole.get("error")
    if isinstance(inner, Mapping):
        return cast("Mapping[str, object]", inner)
    if isinstance(inner, str) and inner:
        return {"message": inner}
    return whole if "message" in whole or "code" in whole else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the answer asks us to wait; an HTTP date is measured on the server's own clock."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(headers.get(name))
        if seconds is not None:
            return min(seconds * scale, _LONGEST_WAIT)
    until, now = headers.get("retry-after"), headers.get("date")
    if until is None or now is None:
        return None
    try:
        wait = (parsedate_to_datetime(until) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError, OverflowError):  # no date, one of the two without a zone, one out of all bounds
        return None
    return min(max(wait, 0.0), _LONGEST_WAIT)


def _kind_inside_a_stream(error: Mapping[str, object] | None, names: frozenset[str]) -> FailureKind:
    for name in sorted(names):
        if name in _BY_NAME:
            return _BY_NAME[name]
    code = error.get("code") if error else None
    if isinstance(code, int) and code >= 400:  # OpenRouter puts the upstream's status there
        return judge(code, error).kind
    return "overloaded"


def _names(error: Mapping[str, object] | None) -> frozenset[str]:
    if error is None:
        return frozenset()
    details = error.get("details")
    deeper = cast("Mapping[str, object]", details).get("error_code") if isinstance(details, Mapping) else None
    return frozenset(name for name in (error.get("type"), error.get("code"), deeper) if isinstance(name, str))


def _words(error: Mapping[str, object] | None, body: object) -> str:
    found = error.get("message") if error else body
    text = " ".join(found.split()) if isinstance(found, str) else ""
    return text if len(text) <= _LONGEST_WORDS else text[:_LONGEST_WORDS] + "…"


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if isfinite(number) and number >= 0 else None
