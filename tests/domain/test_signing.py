"""Signatures of webhooks: what the documentation tells receivers to do takes them, and nothing else."""

import re
import time
from typing import Any

import pytest
from pydantic import SecretStr

from domain.signing import SECRET_BYTES, secret_of, signed
from tests.support.checkout import ROOT

PAGE = ROOT / "docs" / "how-to" / "webhooks.md"
ONE, TWO = secret_of(bytes(range(SECRET_BYTES))), secret_of(bytes(SECRET_BYTES))


def documented() -> Any:
    """The function that the documentation gives to receivers."""
    code = next(
        each for each in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "def verified" in each
    )
    found: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), found)  # noqa: S102 -- our own page
    return found["verified"]


def test_what_the_documentation_does_takes_what_is_signed() -> None:
    verified, now = documented(), int(time.time())
    headers = signed("a.1", now, b"{}", [ONE, TWO])
    assert verified(headers, b"{}", ONE.get_secret_value())
    assert verified(headers, b"{}", TWO.get_secret_value())
    assert not verified(headers, b"{ }", ONE.get_secret_value())
    assert not verified(headers | {"webhook-id": "a.2"}, b"{}", ONE.get_secret_value())
    assert not verified(headers, b"{}", secret_of(b"x" * SECRET_BYTES).get_secret_value())
    late = signed("a.1", now - 301, b"{}", [ONE])
    assert not verified(late, b"{}", ONE.get_secret_value())
    assert not verified(late | {"webhook-timestamp": str(now)}, b"{}", ONE.get_secret_value())


def test_a_dot_that_is_moved_is_not_taken() -> None:
    """The id of an event holds the separator of what is signed: read otherwise, its version is a time long ago."""
    now = int(time.time())
    headers = signed("stream.7", now, b"{}", [ONE])
    moved = {**headers, "webhook-id": "stream", "webhook-timestamp": "7"}
    assert not documented()(moved, b"%d.{}" % now, ONE.get_secret_value())


def test_a_known_message_has_its_known_signature() -> None:
    """The example of the standard's own test suite."""
    secret = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    found = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, [secret])
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("wrong", ["", "whsec_", "whsec_short", "whsec_" + "!" * 44, "x" * 44])
def test_what_is_no_secret_signs_nothing_and_is_not_repeated(wrong: str) -> None:
    with pytest.raises(ValueError, match="no signing secret") as refused:
        signed("a.1", 1, b"{}", [SecretStr(wrong)])
    assert not wrong or wrong not in str(refused.value)
