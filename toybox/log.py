"""Structured logs: readable on a terminal, JSON elsewhere, and never a secret."""

import logging
import re
import sys
from collections.abc import MutableMapping, Sequence
from typing import Any, Literal
from uuid import UUID

import structlog

_TOKEN = re.compile(r"\btbx_[A-Za-z0-9]{8,}|\b(?:sk|pk)-[A-Za-z0-9_-]{8,}|(?<=Bearer )\S+")
HIDDEN = "[secret]"
_LEARNT: dict[str, None] = {}
"""Secrets that this process came to know after its start, in order."""
MOST_LEARNT = 200


def hide(secret: str) -> None:
    """Keep logs clean of this too, from now on; of very many, the latest."""
    if secret not in _LEARNT and len(secret) >= 8:
        _LEARNT[secret] = None
        while len(_LEARNT) > MOST_LEARNT:
            del _LEARNT[next(iter(_LEARNT))]


def set_up(level: str, how: Literal["auto", "json", "text"] = "auto", *, secrets: Sequence[str] = ()) -> None:
    """Send every log line, ours and libraries', to standard error in one shape."""
    as_json = how == "json" or (how == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _Cleaner(secrets),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        # Else an error would be shown with the variables around it, keys and prompts among them.
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn", "httpx", "httpx2", "httpcore", "openai", "anthropic", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    if root.level > logging.DEBUG:
        hush_kafka()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,  # building a logger for each line cost 13 µs of a command's 100
    )


def hush_kafka() -> None:
    """Its client says several times a second what it cannot reach; whoever uses it says it once, in our words."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


class _Cleaner:
    """Takes out what looks like a key, and the secrets that this process was given."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [each for each in secrets if len(each) >= 8]

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in event.items():
            if isinstance(value, str):
                event[name] = self._clean(value)
            elif isinstance(value, UUID):  # spelled here, so that a line nobody keeps costs nothing
                event[name] = str(value)
        return event

    def _clean(self, text: str) -> str:
        for secret in (*self._secrets, *_LEARNT):
            text = text.replace(secret, HIDDEN)
        return _TOKEN.sub(HIDDEN, text)
