"""Why an attempt failed, in a sentence of ours: providers' own words may repeat a prompt, so they are kept sealed."""

from collections.abc import Mapping

REASONS: Mapping[str, str] = {
    "authentication": "the provider refused the API key: check the key and what it is allowed to do",
    "budget_exceeded": "a budget has no room for what it may cost: raise its limit, or ask for fewer output tokens",
    "cancelled": "the job was cancelled",
    "credit_exhausted": "the provider's credit is used up: add credit or raise the spend limit there",
    "circuit_open": "the provider's circuit is open, because it failed too often: toybox providers health says more",
    "cut_stream": "the answer broke off before it was complete",
    "deadline_exceeded": "it did not start by its deadline: requeue it with a later one, or allow more calls at once",
    "erased": "what the request is made of was erased: the key of its texts was destroyed",
    "invalid_request": "the request cannot be made as it is: check the agent's prompt, its inputs and its AI config",
    "lease_lost": "the worker was held up for longer than its lease before it could send",
    "lost": "its worker fell silent and no attempt is left",
    "malformed": "the provider's answer cannot be read: check that its base URL is an API of this kind",
    "model_not_found": "the provider does not know the model: check its name, the base URL, and what the key may use",
    "not_kept": "the answer could not be kept; what it cost counts all the same",
    "output_too_long": "the answer was cut off at max_output_tokens: raise it in the agent's AI config",
    "overloaded": "the provider is overloaded",
    "price_unknown": "its price is unknown: toybox prices import FILE, toybox prices approve CARD, then queue it again",
    "provider_key_missing": "no key of the provider can be used: store one (toybox provider-keys add), or see its note",
    "rate_limited": "the provider's rate limit is reached",
    "refused": "the model refused to answer: change the agent's prompt or model",
    "timeout": "no answer in time: allow the job more time, or ask for fewer output tokens",
    "unknown_provider": "the provider is not registered: register it, or choose another one in the AI config",
    "unreachable": "the provider cannot be reached: check its base URL, and that the server is running",
}
"""By kind of failure. What else is known of one failure stands in its note."""


def reason_of(kind: str) -> str:
    """What to tell people about a failure of this kind, also where the kind is not known here."""
    return REASONS.get(kind, f"the attempt failed: {kind.replace('_', ' ')}")
