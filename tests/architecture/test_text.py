"""No file carries an address, a path or a secret that belongs to somebody's machine."""

import re

import pytest

from tests.support.checkout import ROOT, listed

MAX_BYTES = 1_000_000
RULES = {
    "a package registry's host": r"(?:pypi|pythonhosted|npmjs)\.(?:org|com)\b|\bcrates\.io\b|\bproxy\.golang\.org\b"
    r"|\brepo1?\.maven\.(?:apache\.)?org\b|\bdeb\.debian\.org\b",
    "a path of one machine": r"(?<![\w.$}])/(?:home|Users)/\w+/|(?<![\w.$}])/(?:root|work)/[\w.]",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a provider's key": r"\bsk-(?:ant-|or-|proj-)?[A-Za-z0-9_]{20,}|\bAKIA[0-9A-Z]{16}\b",
    "a token": r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bxox[abp]-[0-9A-Za-z-]{10,}",
    "a merge conflict": r"^(?:<{7}|>{7}) ",
}
WORDS = {
    "a package registry's host": ["pypi", "pythonhosted", "npmjs", "crates", "golang", "maven", "debian"],
    "a path of one machine": ["/home/", "/Users/", "/root/", "/work/"],
    "a private key": ["PRIVATE KEY"],
    "a provider's key": ["sk-", "AKIA"],
    "a token": ["gh", "xox"],
    "a merge conflict": ["<<<<<<", ">>>>>>"],
}
"""Without one of these a text cannot break the rule: a plain search is a hundred times faster."""
PLANTED = {
    "a package registry's host": ["https://files.python" + "hosted.org/packages/x.whl", "registry.npm" + "js.org"],
    "a path of one machine": ["open('/home/" + "ada/toybox')", "see /ro" + "ot/.cache", "cd /wo" + "rk/main"],
    "a private key": ["-----BEGIN RSA " + "PRIVATE KEY-----"],
    "a provider's key": ["sk-" + "ant-" + "a1" * 12, "AK" + "IA" + "ABCDEFGHIJKLMNOP"],
    "a token": ["gh" + "p_" + "a" * 36],
    "a merge conflict": ["<" * 7 + " HEAD"],
}
INNOCENT = ["/var/lib/postgresql", "/api/workers/", "a homework/page", "risk-free", "https://example.org/", "$HOME/x"]


def findings(text: str) -> dict[str, str]:
    """Which rules a text breaks, and with what."""
    found = {
        rule: re.search(pattern, text, re.MULTILINE)
        for rule, pattern in RULES.items()
        if any(word in text for word in WORDS[rule])
    }
    return {rule: match.group() for rule, match in found.items() if match}


def test_no_file_names_a_machine_a_registry_or_a_secret() -> None:
    broken = {
        str(path): found
        for path in listed()
        if b"\0" not in (raw := (ROOT / path).read_bytes()) and (found := findings(raw.decode("utf-8", "replace")))
    }
    assert not broken


def test_no_file_is_too_large_for_a_repository() -> None:
    large = {str(path): size for path in listed() if (size := (ROOT / path).stat().st_size) > MAX_BYTES}
    assert not large, f"keep these beside the repository: {large}"


def test_no_environment_file_is_committed() -> None:
    assert not [str(path) for path in listed() if path.name == ".env" or path.suffix in {".pem", ".key"}]


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in PLANTED.items() for text in texts])
def test_what_is_planted_is_found(rule: str, text: str) -> None:
    assert rule in findings(f"first line\n{text}\nlast line")


@pytest.mark.parametrize("text", INNOCENT)
def test_plain_text_is_left_alone(text: str) -> None:
    assert findings(text) == {}
