"""A request whose job went elsewhere does not leave this machine, however late that is noticed."""

from dataclasses import replace

import pytest

from commands.models import LanguageModel, ModelError
from tests.adapters.llm.vendors.asking import Ask, request, streamed, whole
from tests.support.vendors.server import VendorServer


@pytest.mark.parametrize("ask", [whole, streamed])
async def test_what_may_no_longer_leave_is_not_sent_and_costs_nothing(
    ask: Ask, model: LanguageModel, vendor: VendorServer
) -> None:
    asked: list[bool] = []

    def may_leave() -> bool:
        asked.append(True)
        return False

    with pytest.raises(ModelError) as gave_up:
        await ask(model, replace(request(), may_leave=may_leave))
    assert asked == [True], "asked once, for the only request"
    assert (gave_up.value.sent, gave_up.value.may_cost, gave_up.value.retryable) == (False, False, True)
    assert not vendor.entries()
    assert (await ask(model, request())).text.startswith("Answered: ")
    assert len(vendor.entries()) == 1
