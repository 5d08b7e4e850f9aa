"""How pages are read: no command is overlooked, and an output that is not what is printed fails."""

import re
from pathlib import Path

import pytest

from tests.recipes import pages
from tests.recipes.pages import FOLDER, cells, play, to_run

PAGES = sorted(page.name for page in FOLDER.glob("*.md"))
PAGE = "# Page\n\n```sh\necho one\n```\n\n```text\none\n```\n\n```sh install\nget it\n```\n\n```sh\necho two\n```\n"


@pytest.mark.parametrize("name", PAGES)
def test_every_fence_of_a_page_is_a_command_or_its_output(name: str) -> None:
    found = cells(name)
    fences = len(re.findall(r"^```", (FOLDER / name).read_text("utf-8"), re.MULTILINE))
    assert fences == 2 * (len(found) + sum(each.shown is not None for each in found))
    assert {each.note for each in found} <= {None, pages.NOT_RUN}
    assert all(each.shown is None or each.shown.strip() for each in found), f"{pages.RECORD}=1 writes outputs down"


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_somewhere(name: str) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", (FOLDER / name).read_text("utf-8"))
    assert not [each for each in targets if not (FOLDER / each).exists()]


def test_an_output_that_differs_fails_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "FOLDER", tmp_path)
    (tmp_path / "page.md").write_text(PAGE)
    assert [each.text for each in to_run("page.md")] == ["echo one\n", "echo two\n"]
    play("page.md", lambda cell: cell.text.removeprefix("echo "))
    with pytest.raises(AssertionError, match=r"page\.md, line 8"):
        play("page.md", lambda _: "three\n")
    assert (tmp_path / "page.md").read_text() == PAGE


def test_asked_to_it_writes_down_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "FOLDER", tmp_path)
    monkeypatch.setenv(pages.RECORD, "1")
    (tmp_path / "page.md").write_text(PAGE)
    with pytest.raises(AssertionError):
        play("page.md", lambda _: "three\n")
    assert (tmp_path / "page.md").read_text() == PAGE.replace("\none\n```", "\nthree\n```", 1)
