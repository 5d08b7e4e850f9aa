"""Questions of one moment go out as one; no answer is older than its question; trouble reaches all who asked."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from commands.gathering import Gathering
from domain.errors import Unavailable


class Source:
    """Answers with how often it was asked, when it is let go."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.go = asyncio.Event()
        self.trouble: Exception | None = None

    async def together(self, keys: Sequence[str]) -> Mapping[str, int]:
        self.asked.append(list(keys))
        number = len(self.asked)
        await self.go.wait()
        if self.trouble:
            raise self.trouble
        return dict.fromkeys(keys, number)


async def test_what_is_asked_at_one_moment_is_one_question() -> None:
    source = Source()
    ask = Gathering(source.together)
    source.go.set()
    assert await asyncio.gather(ask("a"), ask("b"), ask("a")) == [1, 1, 1]
    assert source.asked == [["a", "b"]]


async def test_whoever_comes_while_a_question_is_under_way_is_in_the_next_one() -> None:
    source = Source()
    ask = Gathering(source.together)
    first = asyncio.create_task(ask("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = [asyncio.create_task(ask(key)) for key in ("a", "b")]
    await asyncio.sleep(0)
    source.go.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2, 2], "an answer that was on its way may be older than their question"


async def test_no_question_is_too_long() -> None:
    source = Source()
    ask = Gathering(source.together, most=2)
    source.go.set()
    await asyncio.gather(*(ask(key) for key in "abcde"))
    assert source.asked == [["a", "b"], ["c", "d"], ["e"]]


async def test_trouble_reaches_all_who_asked_and_nobody_else() -> None:
    source = Source()
    source.trouble = Unavailable("away")
    ask = Gathering(source.together)
    source.go.set()
    ended = await asyncio.gather(ask("a"), ask("b"), return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in ended)
    source.trouble = None
    assert await ask("a") == 2


async def test_whoever_gives_up_does_not_take_the_answer_from_others() -> None:
    source = Source()
    ask = Gathering(source.together)
    patient, hasty = asyncio.create_task(ask("a")), asyncio.create_task(ask("a"))
    await asyncio.sleep(0.01)
    hasty.cancel()
    source.go.set()
    assert await patient == 1
    with pytest.raises(asyncio.CancelledError):
        await hasty
