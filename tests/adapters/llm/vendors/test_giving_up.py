"""A request whose job went elsewhere does not leave this machine, however late that is noticed."""

from dataclasses import replace

import pytest

from commands.models import LanguageModel, ModelError
from tests.adapters.llm.vendors.asking import Ask, request, streamed, whole
from tests.support.vendors.server import VendorServer


@pytest.mark.parametrize("until", ["headers", "body"])
@pytest.mark.parametrize("ask", [whole, streamed])
async def test_what_may_no_longer_leave_is_not_sent_and_costs_nothing(
    ask: Ask, model: LanguageModel, vendor: VendorServer, until: str
) -> None:
    asked: list[bool] = []

    def may_leave() -> bool:
        asked.append(until == "body" and not asked)
        return asked[-1]

    with pytest.raises(ModelError) as gave_up:
        await ask(model, replace(request(), may_leave=may_leave))
    expected = {"headers": [False], "body": [True, False]}
    assert asked == expected[until], "asked for the only request, before its headers and before its body"
    assert (gave_up.value.sent, gave_up.value.may_cost, gave_up.value.retryable) == (False, False, True)
    assert not vendor.entries()
    assert (await ask(model, request())).text.startswith("Answered: ")
    assert len(vendor.entries()) == 1
