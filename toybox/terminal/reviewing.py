"""A checkpoint at the prompt: what is to be decided, shown in full or in part, and the decision sent."""

import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markdown import Markdown
from rich.rule import Rule

from domain.errors import Conflict, NotFound, Refused
from toybox.client import Client
from toybox.terminal.output import err, out, short

Json = dict[str, Any]
Decision = Literal["approve", "edit", "reject", "respond"]
SHOWN_LINES = 30
LEAST_LINES = 8
ROOM = 14
"""Lines of the screen that the question, the choices and what stands above them take."""
CHOICES = "[a]pprove  [e]dit  [r]eject  res[p]ond  [v]iew all  [l]ater"


def resolve(
    client: Client,
    checkpoint: Json,
    decision: Decision,
    *,
    comment: str | None = None,
    content: str | None = None,
    digest: str | None = None,
) -> Json:
    """Send a decision about exactly the content that was looked at."""
    body = {"decision": decision, "digest": digest or checkpoint["digest"], "comment": comment, "content": content}
    sent = {name: value for name, value in body.items() if value is not None}
    return client.post(f"/api/checkpoints/{checkpoint['id']}/resolve", sent)


def checkpoint_of(client: Client, checkpoint_id: str, position: int | None = None) -> Json:
    """One checkpoint, not older than the position."""
    return client.get(f"/api/checkpoints/{checkpoint_id}", min_position=position)


def content_of(client: Client, checkpoint: Json) -> str:
    """What the checkpoint is about."""
    path = f"/api/assets/{checkpoint['asset_id']}/content"
    return client.content(path, version=checkpoint["asset_version"]).decode("utf-8", "replace")


class Reviewer:
    """Asks the person at the terminal, once for each checkpoint."""

    def __init__(self, client: Client, editor: str) -> None:
        self._client = client
        self._editor = editor

    def ask(self, checkpoint: Json) -> None:
        """Show what is to be decided and take an answer; `later` leaves it to somebody else."""
        text = content_of(self._client, checkpoint)
        self._show(checkpoint, text, whole=False)
        try:
            while not self._answered(checkpoint, text):
                continue
        except (Conflict, Refused, NotFound) as error:  # decided elsewhere in the meantime, or expired
            err().print(str(error))
        except EOFError:
            _later(checkpoint)

    def _answered(self, checkpoint: Json, text: str) -> bool:
        out().print(CHOICES, style="bold")
        match out().input("> ").strip().lower():
            case "a" | "approve":
                resolve(self._client, checkpoint, "approve")
            case "e" | "edit":
                return self._edit(checkpoint, text)
            case "r" | "reject":
                resolve(self._client, checkpoint, "reject", comment=_line("why (may be empty): "))
            case "p" | "respond":
                said = _line("what should be different: ") or written(self._editor, "", ".md").strip()
                if not said:
                    return False
                resolve(self._client, checkpoint, "respond", comment=said)
            case "v" | "view":
                self._show(checkpoint, text, whole=True)
                return False
            case "l" | "later":
                _later(checkpoint)
            case _:
                return False
        return True

    def _edit(self, checkpoint: Json, text: str) -> bool:
        suffix = Path(str(checkpoint.get("asset_name") or "text.md")).suffix or ".md"
        changed = written(self._editor, text, suffix)
        if changed == text:
            out().print("nothing was changed: approve it as it is?")
            return False
        resolve(self._client, checkpoint, "edit", content=changed, comment=_line("comment (may be empty): "))
        return True

    def _show(self, checkpoint: Json, text: str, *, whole: bool) -> None:
        console = out()
        console.print(Rule(f"{checkpoint['agent']}: {checkpoint['title']}", style="yellow", align="left"))
        if checkpoint.get("question"):
            console.print(checkpoint["question"], style="italic")
        lines = text.splitlines()
        room = len(lines) if whole else max(LEAST_LINES, min(SHOWN_LINES, console.size.height - ROOM))
        console.print()
        _print_text(console, "\n".join(lines[:room]), checkpoint)
        if len(lines) > room:
            console.print(f"… {len(lines) - room} more lines: v shows them all", style="dim")
        console.print(
            f"version {checkpoint['asset_version']}, {len(text.encode()):,} bytes, sha256 {checkpoint['digest'][:12]}…",
            style="dim",
        )


def _print_text(console: Console, text: str, checkpoint: Json) -> None:
    media_type = str(checkpoint.get("media_type") or "text/markdown")
    if console.is_terminal and media_type == "text/markdown":
        console.print(Markdown(text))
    else:
        console.print(text, soft_wrap=True)


def _line(question: str) -> str | None:
    return out().input(question).strip() or None


def _later(checkpoint: Json) -> None:
    out().print(f"left undecided; decide with: toybox approve {short(checkpoint['id'])}", style="dim")


def written(editor: str, text: str, suffix: str) -> str:
    """The text as the person's editor left it."""
    with tempfile.TemporaryDirectory(prefix="toybox-") as folder:
        file = Path(folder) / f"text{suffix}"
        file.write_text(text, encoding="utf-8")
        command = [*shlex.split(editor), str(file)]
        try:
            code = subprocess.run(command, check=False).returncode
        except OSError as error:
            raise Refused(f"the editor {editor!r} does not start ({error.strerror}): set EDITOR") from error
        if code != 0:
            raise Refused(f"the editor {editor!r} ended with code {code}: nothing was sent", code="editor_failed")
        return file.read_text("utf-8")
