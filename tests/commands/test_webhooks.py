"""Stories of webhooks: subscribed, changed, paused, rotated, replayed, disabled, removed; no secret is in the log."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from commands.handling import Principal
from commands.projects import CreateProject
from commands.webhooks import (
    ChangeWebhook,
    DisableWebhook,
    PauseWebhook,
    RemoveWebhook,
    ReplayWebhook,
    RequeueWebhookDeliveries,
    ResumeWebhook,
    RotateWebhookSecret,
    SubscribeWebhook,
)
from domain.errors import Conflict, NotAllowed, NotFound, Refused
from domain.kernel import EVENT_TYPES
from domain.webhooks import Webhook, origin_of, types_meant
from tests.support.story import Story
from toybox.inventory import load

load()
HOOK = UUID(int=77)
URL = "https://hooks.example.org:8443/in?token=t0ken"


def secret(number: int = 1) -> UUID:
    return UUID(int=number)


def subscribe(story: Story, number: int = 1, **more: object) -> SubscribeWebhook:
    facts = {"secret_id": secret(number), "kept_at": story.clock.now, "webhook_id": HOOK, "url": URL}
    return SubscribeWebhook.model_validate(facts | {"types": ("budget.*",)} | more)


def rotate(story: Story, number: int = 2, **more: object) -> RotateWebhookSecret:
    facts = {"secret_id": secret(number), "kept_at": story.clock.now, "webhook_id": HOOK}
    return RotateWebhookSecret.model_validate(facts | more)


def signing(story: Story) -> list[UUID]:
    return list(story.state(Webhook, HOOK).secrets(story.clock.now))


async def test_a_webhook_is_known_by_its_origin_and_its_path_is_sealed(story: Story) -> None:
    await story.when(subscribe(story, description="Pages somebody."))
    (said,) = story.then("webhook.subscribed")
    assert await story.unsealed(said.pop("url")) == URL
    assert await story.unsealed(said.pop("description")) == "Pages somebody."
    assert said == {
        "project_id": None,
        "origin": "https://hooks.example.org:8443",
        "types": ["budget.*"],
        "from_position": None,
        "secret_id": str(secret()),
        "by": "owner",
    }
    assert b"t0ken" not in story.events[-1].data
    assert signing(story) == [secret()]


async def test_what_happens_to_webhooks_is_public_and_names_no_secret() -> None:
    own = [kind for name, kind in EVENT_TYPES.items() if name.startswith("webhook.")]
    assert len(own) == 9
    assert not [kind for kind in own if kind.PRIVATE]


@pytest.mark.parametrize(
    ("url", "saying"),
    [
        ("https://user:pass@hooks.example.org/", "no name or password"),
        ("ftp://hooks.example.org/", "https://HOST"),
        ("https:///path", "https://HOST"),
        ("https://hooks.example.org:99999/", "https://HOST"),
        ("https://hooks.example.org/#part", "behind a #"),
        ("https://hooks.example.org/a b", "visible ASCII"),
        ("https://[::1/", "https://HOST"),
    ],
)
async def test_an_address_that_cannot_be_posted_to_is_refused_without_repeating_it(
    story: Story, url: str, saying: str
) -> None:
    await story.when(subscribe(story, url=url))
    refusal = story.then_refused(Refused, code="invalid_webhook_url", saying=saying)
    assert "pass" not in str(refusal) or "password" in str(refusal)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin_of("http://[::1]:8080/x") == "http://[::1]:8080"
    assert origin_of("https://Hooks.Example.org/x?y") == "https://hooks.example.org"


@pytest.mark.parametrize(
    ("types", "code", "saying"),
    [
        (("budget.treshold_crossed",), "unknown_event_type", "did you mean budget.threshold_crossed"),
        (("nothing.*",), "unknown_event_type", "budget.*"),
        (("access_key.issued",), "private_event_type", "never leaves the database"),
        (("access_key.*",), "unknown_event_type", "write one"),
    ],
)
async def test_a_choice_that_means_nothing_is_refused(
    story: Story, types: tuple[str, ...], code: str, saying: str
) -> None:
    await story.when(subscribe(story, types=types))
    story.then_refused(Refused, code=code, saying=saying)


def test_patterns_mean_public_types_alone() -> None:
    everything = types_meant(["*"])
    assert types_meant(["budget.*", "project.created"]) < everything
    assert not [each for each in everything if EVENT_TYPES[each].PRIVATE]
    assert types_meant(["provider_key.*"]) == frozenset()
    with pytest.raises(ValidationError, match="pattern"):
        subscribe(Story(), types=("Budget*",))


async def test_one_for_a_project_belongs_to_it(story: Story) -> None:
    project = story.id("project")
    await story.when(subscribe(story, project_id=project))
    story.then_refused(NotFound)
    await story.given(CreateProject(project_id=project, name="one"))
    await story.when(subscribe(story, project_id=project))
    story.then("webhook.subscribed")
    assert story.events[-1].project_id == project


async def test_who_has_events_sent_must_be_allowed_to_read_them(story: Story) -> None:
    guest = Principal("guest", frozenset({"webhooks.*"}))
    await story.when(subscribe(story), principal=guest)
    story.then_refused(NotAllowed, saying="events.read")
    await story.given(subscribe(story))
    for command in (ChangeWebhook(webhook_id=HOOK, types=("*",)), ReplayWebhook(webhook_id=HOOK, from_position=0)):
        await story.when(command, principal=guest)
        story.then_refused(NotAllowed, saying="events.read")


async def test_it_is_changed_in_part(story: Story) -> None:
    await story.given(subscribe(story))
    await story.when(ChangeWebhook(webhook_id=HOOK, types=("project.*", "project.*", "*")))
    (said,) = story.then("webhook.changed")
    assert (said["types"], said["url"], said["origin"], said["description"]) == (["project.*", "*"], None, None, None)
    await story.when(ChangeWebhook(webhook_id=HOOK, url="https://other.example.org/", description="Other."))
    (said,) = story.then("webhook.changed")
    state = story.state(Webhook, HOOK)
    assert (state.origin, state.types) == ("https://other.example.org", ["project.*", "*"])
    assert await story.unsealed(state.url) == "https://other.example.org/"
    await story.when(ChangeWebhook(webhook_id=HOOK))
    story.then_refused(Refused, code="nothing_to_change")


async def test_it_is_paused_and_resumed_once(story: Story) -> None:
    await story.given(subscribe(story))
    for command, types in (
        (PauseWebhook(webhook_id=HOOK), ["webhook.paused"]),
        (PauseWebhook(webhook_id=HOOK), []),
        (ResumeWebhook(webhook_id=HOOK), ["webhook.resumed"]),
        (ResumeWebhook(webhook_id=HOOK), []),
    ):
        await story.when(command)
        story.then(*types)


async def test_it_is_disabled_only_while_it_is_active_and_resumed_after_somebody_looked(story: Story) -> None:
    disable = DisableWebhook(webhook_id=HOOK, reason="failing", detail="nothing has arrived for 72 hours")
    await story.given(subscribe(story))
    await story.when(disable)
    assert story.then("webhook.disabled")[0]["reason"] == "failing"
    await story.when(disable)
    story.then_refused(Refused, code="not_due")
    await story.when(PauseWebhook(webhook_id=HOOK))
    story.then()
    assert story.state(Webhook, HOOK).status == "disabled"
    await story.when(ResumeWebhook(webhook_id=HOOK))
    story.then("webhook.resumed")


async def test_two_secrets_sign_during_an_overlap_never_three(story: Story) -> None:
    await story.given(subscribe(story))
    await story.when(rotate(story, overlap_seconds=60))
    assert story.then("webhook.secret_rotated")[0]["old_secret_id"] == str(secret(1))
    assert signing(story) == [secret(2), secret(1)]
    await story.given(rotate(story, 3, overlap_seconds=60))
    assert signing(story) == [secret(3), secret(2)]
    story.clock.advance(60)
    assert signing(story) == [secret(3)]


async def test_a_secret_that_lay_too_long_is_not_spoken_of(story: Story) -> None:
    late: list[Any] = [subscribe(story, webhook_id=UUID(int=78))]
    await story.given(subscribe(story))
    late.append(rotate(story))
    story.clock.advance(301)
    for each in late:
        await story.when(each)
        story.then_refused(Refused, code="webhook_secret_late", saying="ask again")


async def test_a_repeated_request_is_known_although_its_secret_was_made_anew(story: Story) -> None:
    await story.send(subscribe(story), key="k")
    assert (await story.send(subscribe(story, 9), key="k")).repeated
    assert signing(story) == [secret(1)]


async def test_a_replay_and_a_requeue_are_facts(story: Story) -> None:
    await story.given(subscribe(story))
    await story.when(ReplayWebhook(webhook_id=HOOK, from_position=7))
    assert story.then("webhook.replay_requested") == [{"from_position": 7, "by": "owner"}]
    await story.when(RequeueWebhookDeliveries(webhook_id=HOOK))
    assert story.then("webhook.dead_letters_requeued") == [{"position": None, "by": "owner"}]


async def test_nothing_is_asked_of_one_that_was_removed(story: Story) -> None:
    await story.given(subscribe(story), rotate(story))
    await story.when(RemoveWebhook(webhook_id=HOOK))
    story.then("webhook.removed")
    assert signing(story) == []
    await story.when(RemoveWebhook(webhook_id=HOOK))
    story.then()
    for command in (
        ChangeWebhook(webhook_id=HOOK, types=("*",)),
        PauseWebhook(webhook_id=HOOK),
        ResumeWebhook(webhook_id=HOOK),
        rotate(story, 3),
        ReplayWebhook(webhook_id=HOOK, from_position=0),
        RequeueWebhookDeliveries(webhook_id=HOOK),
    ):
        await story.when(command)
        story.then_refused(Conflict, code="webhook_removed", saying="toybox webhooks add")
