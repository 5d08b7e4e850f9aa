"""How a message to a webhook is signed, as Standard Webhooks has it: three headers, several secrets at once. No I/O."""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

from pydantic import SecretStr

PREFIX = "whsec_"
SECRET_BYTES = 32
_SECRET = re.compile(PREFIX + r"[A-Za-z0-9+/]{32,86}={0,2}")


def secret_of(random: bytes) -> SecretStr:
    """Random bytes as receivers are given them."""
    return SecretStr(PREFIX + base64.b64encode(random).decode())


def signed(message_id: str, seconds: int, body: bytes, secrets: Sequence[SecretStr]) -> dict[str, str]:
    """The three headers: one signature for each secret, so that a receiver may hold any of them."""
    content = b".".join((message_id.encode(), b"%d" % seconds, body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{_signature(_key(each), content)}" for each in secrets),
    }


def _signature(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def _key(secret: SecretStr) -> bytes:
    plain = secret.get_secret_value()
    if not _SECRET.fullmatch(plain):
        raise ValueError("this is no signing secret of a webhook")
    return base64.b64decode(plain.removeprefix(PREFIX), validate=True)
