"""Examples for the OpenAPI document, by the name of the body's model."""

from collections.abc import Mapping
from typing import Any, Final

_EXAMPLES: Final[Mapping[str, Any]] = {
    "AddAgent": {
        "name": "writer",
        "phase": "write",
        "instructions": "You write release notes for users.",
        "prompt": "Write release notes from this changelog:\n\n{{ inputs.changelog }}",
        "ai": {"provider": "scripted", "model": "scripted-small"},
        "checkpoint": {"title": "Review the notes", "question": "Is this good to publish?"},
    },
    "AddPhase": {"name": "write"},
    "ApproveAsset": {"digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
    "BlueprintText": {"blueprint": "blueprint: 1\nname: release-notes\n…"},
    "CancelAgent": {"note": "Not needed any more"},
    "CancelLlmJob": {"reason": "not_needed"},
    "CancelProject": {"reason": "requested", "note": "Wrong changelog"},
    "ChangeAiConfig": {"ai": {"provider": "openai", "model": "gpt-5-mini", "temperature": "0.2"}},
    "ChangeBudgetLimit": {"limit": "2.50"},
    "ChangeHealthSettings": {"rules": {"cooldown_seconds": 30, "all_open": "try"}},
    "ChangeProjectSettings": {"name": "Release notes 1.4"},
    "ChangeQualitySettings": {"quality": {"checkpoints": ["writer"], "retries": 3}},
    "ChatJob": {
        "provider": "scripted",
        "model": "scripted-small",
        "messages": [{"role": "user", "content": "Say hello"}],
        "max_output_tokens": 100,
    },
    "CircuitByHand": {"action": "open", "reason": "Their status page is red"},
    "CloseMonth": {"month": "2026-10"},
    "ConfigureAgent": {"prompt": "Write shorter release notes.", "retries": 1},
    "ConfigureProvider": {"config": {"key_env": "OPENAI_API_KEY", "timeout_seconds": 120}},
    "DefineLibraryAgent": {"name": "editor", "instructions": "You edit texts.", "prompt": "Edit: {{ outputs.writer }}"},
    "EscalateCheckpoint": {"note": "The release is tonight"},
    "Export": {
        "rows": [{"row": 2, "response_id": "resp_68a1", "input_tokens": 1200, "output_tokens": 340}],
        "dry_run": True,
    },
    "Inputs": {"inputs": [{"name": "changelog", "kind": "file", "text": "- Fixed the login"}]},
    "IssueAccessKey": {"label": "dashboard", "permissions": ["projects.read", "costs.read", "events.read"]},
    "LateUsage": {
        "attempt": 1,
        "input_tokens": 1200,
        "output_tokens": 340,
        "counts": {"input_cache_read": 900},
    },
    "NewCard": {
        "card": {
            "provider": "acme",
            "effective_from": "2026-12-01",
            "source": "contract 7",
            "models": [{"model": "acme-large", "prices": [{"rates": {"input": "2", "output": "10"}}]}],
        }
    },
    "NewProject": {
        "blueprint": "blueprint: 1\nname: release-notes\n…",
        "inputs": {"changelog": "- Fixed the login"},
        "budget": "0.50",
    },
    "NewProviderKey": {"provider": "openai", "label": "team-a", "key": "sk-…"},
    "NextProviderKey": {"key": "sk-…", "overlap_seconds": 3600},
    "OpenBudget": {"scope": {"kind": "global"}, "limit": "25", "thresholds": [50, 80, 100]},
    "PauseProject": {"reason": "requested", "note": "Waiting for legal"},
    "RegisterProvider": {
        "name": "local",
        "kind": "openai_compatible",
        "config": {"base_url": "http://127.0.0.1:8000/v1", "models": ["qwen3"]},
    },
    "RejectAsset": {"digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
    "ResetProject": {"what": "failed"},
    "Rerating": {"card": "acme@2026-12-01.1", "dry_run": True},
    "Resolution": {
        "decision": "approve",
        "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "comment": "Well done",
    },
    "ChangeWebhook": {"types": ["budget.*", "checkpoint.requested"]},
    "ReplayWebhook": {"from_position": 1200},
    "RequeueWebhookDeliveries": {"position": 1234},
    "RotateWebhookSecret": {"overlap_seconds": 3600},
    "SubscribeWebhook": {
        "url": "https://hooks.example.org/toybox",
        "types": ["budget.threshold_crossed", "checkpoint.requested"],
        "description": "Pages whoever is on call",
    },
    "RotateAccessKey": {"overlap_seconds": 3600},
}


def example_of(model: str) -> Any | None:
    """A body that such a route takes."""
    return _EXAMPLES.get(model)
