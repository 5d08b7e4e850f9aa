"""Quotas: what is left is told on every answer, whoever is over waits, and nobody waits for another."""

from dataclasses import replace
from datetime import timedelta

from api.limiting import REMEMBERED, RateLimits
from tests.support.client import Api, problem


def limited_to(api: Api, quota: int) -> Api:
    """The same application with a quota."""
    return Api(replace(api.services, rate_limit=quota), api.store, api.owner)


async def test_every_answer_tells_the_quota_and_what_is_left_of_it(api: Api) -> None:
    limited = limited_to(api, 100)
    for left, path in ((99, "/api/auth/me"), (98, "/api/nothing"), (97, "/api/projects?limit=0")):
        answer = await limited.http.get(path)
        assert answer.headers["ratelimit-policy"] == '"default";q=100;w=1'
        assert answer.headers["ratelimit"] == f'"default";r={left};t=1'


async def test_who_is_over_is_told_when_to_go_on(api: Api) -> None:
    limited = limited_to(api, 2)
    assert [(await limited.http.get("/api/auth/me")).status_code for _ in range(2)] == [200, 200]
    refused = await limited.http.get("/api/auth/me")
    assert problem(refused, 429, "too_many_requests")["policy"] == "default"
    assert (refused.headers["retry-after"], refused.headers["ratelimit"]) == ("1", '"default";r=0;t=1')


async def test_each_key_has_a_quota_of_its_own_and_strangers_share_one_by_address(api: Api) -> None:
    limited = limited_to(api, 1)
    async with limited.client(await api.key("*")) as other, limited.client(None) as stranger:
        for client, status in ((limited.http, 200), (other, 200), (stranger, 401)):
            assert (await client.get("/api/auth/me")).status_code == status
            assert (await client.get("/api/auth/me")).status_code == 429


async def test_probes_are_not_counted(api: Api) -> None:
    limited = limited_to(api, 1)
    async with limited.client(None) as probe:
        answers = [await probe.get("/health") for _ in range(3)]
    assert {each.status_code for each in answers} == {200}
    assert "ratelimit" not in answers[-1].headers


async def test_without_a_limit_nothing_is_said(api: Api) -> None:
    assert "ratelimit" not in (await api.http.get("/api/auth/me")).headers


class Watch:
    """A clock that is set by hand."""

    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_the_next_second_has_a_whole_quota_again() -> None:
    watch = Watch()
    limits = RateLimits(2, watch)
    assert limits.count("me") == '"default";r=1;t=1'
    watch.now += timedelta(milliseconds=999).total_seconds()
    assert limits.count("me") == '"default";r=0;t=1'
    watch.now += timedelta(milliseconds=1).total_seconds()
    assert limits.count("me") == '"default";r=1;t=1'


def test_callers_without_number_do_not_fill_the_memory() -> None:
    limits = RateLimits(1, Watch())
    for number in range(REMEMBERED + 5):
        limits.count(str(number))
    assert limits.remembered == REMEMBERED
    assert limits.count(str(REMEMBERED)) == '"default";r=0;t=1'
