"""Sealed text is made readable where a model says so, in one batch, and nowhere else."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from adapters.security.sealing import MemoryKeyring
from api.unsealing import plan_of, unseal
from domain.kernel import EVENT_TYPES
from domain.values import Sealed, Text, derived_id

SUBJECT, OTHER = derived_id("subject"), derived_id("other")


class Note(BaseModel):
    text: Sealed | None


class Page(BaseModel):
    title: str
    body: Sealed
    notes: list[Note]
    by_name: dict[str, Note]
    either: Note | Text | None
    long: Text


class Counting(MemoryKeyring):
    """How often it was asked."""

    asked = 0

    async def unseal(self, texts: Sequence[str]) -> Sequence[str | None]:
        self.asked += 1
        return await super().unseal(texts)


async def sealed(keyring: MemoryKeyring, text: str, subject: UUID = SUBJECT) -> str:
    return (await keyring.sealer(subject, create=True)).seal(text)


async def page(keyring: MemoryKeyring) -> dict[str, Any]:
    return {
        "title": await sealed(keyring, "looks sealed"),
        "body": await sealed(keyring, "body"),
        "notes": [{"text": await sealed(keyring, "note")}, {"text": None}],
        "by_name": {"a": {"text": await sealed(keyring, "gone", OTHER)}},
        "either": {"digest": "0", "size": 1, "sealed": await sealed(keyring, "either")},
        "long": {"digest": "1", "size": 99, "sealed": None},
    }


async def test_everything_that_is_sealed_is_shown_and_nothing_else() -> None:
    keyring = Counting()
    item, second = await page(keyring), await page(keyring)
    title = item["title"]
    await keyring.destroy(OTHER)
    await unseal(keyring, [(Page, item), (Page, second)])
    assert item == {
        "title": title,
        "body": "body",
        "notes": [{"text": "note"}, {"text": None}],
        "by_name": {"a": {"text": None}},
        "either": {"digest": "0", "size": 1, "text": "either"},
        "long": {"digest": "1", "size": 99, "text": None},
        "erased": True,
    }
    assert second["body"] == "body"
    assert keyring.asked == 1


async def test_a_model_without_sealed_text_asks_nobody() -> None:
    class Plain(BaseModel):
        title: str

    keyring = Counting()
    assert plan_of(Plain) is None
    await unseal(keyring, [(Plain, {"title": "x"})])
    assert keyring.asked == 0


def test_the_plans_of_events_find_their_sealed_fields() -> None:
    created = plan_of(EVENT_TYPES["project.created"])
    assert created
    assert set(created.fields or {}) == {"description"}
    initialized = plan_of(EVENT_TYPES["project.initialized"])
    assert initialized
    assert (initialized.fields or {})["inputs"].each
    assert plan_of(EVENT_TYPES["budget.opened"]) is None
