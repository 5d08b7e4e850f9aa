"""Loading: each mistake in a blueprint is told with file, line and fix."""

from pathlib import Path

import pytest

from adapters.blueprints import load_blueprint, parse_blueprint
from adapters.blueprints.source import MAX_BYTES
from tests.adapters.blueprints.documents import ONE_AGENT, problems_in, problems_of_file

FULL = """\
blueprint: 1
name: weekly-report
description: "A report: every week"
inputs:
  notes: {type: file, description: Raw notes, default: notes.md}
  weeks: {type: number, description: How many, default: 1}
budget:
  limit: "0.50"
defaults: {provider: scripted, model: scripted-1, temperature: 0.2}
quality:
  checkpoints: [summary]
phases:
  - name: read
    agents:
      - name: summary-draft
        instructions: Be brief.
        prompt: |
          Weeks: {{ inputs.weeks }}

          {{ inputs.notes }}
  - name: write
    agents:
      - name: summary
        depends_on: [summary-draft]
        instructions: Be brief.
        prompt: "{{ outputs.summary_draft }}"
"""
LAST_AGENTS = FULL[FULL.index("    agents:\n      - name: summary\n") :]


def changed(old: str, new: str) -> list[str]:
    assert FULL.count(old) == 1
    return problems_in(FULL.replace(old, new))


def test_the_blueprint_that_the_mistakes_below_are_made_in_is_sound() -> None:
    assert parse_blueprint(FULL, name="x.yaml").name == "weekly-report"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "[summary-draft]",
            "[sumary]",
            "x.yaml:24: agent 'summary' depends on 'sumary', which does not exist; did you mean 'summary-draft'?",
        ),
        (LAST_AGENTS, "    agents: []\n", "x.yaml:22: phase 'write' has no agents; add an agent, or remove the phase"),
        (
            '"0.50"',
            "0.50",
            (
                "x.yaml:8: 'budget.limit' is not an amount of money: '0.50'; "
                'write it as a string, so that no cent is rounded: "0.50"'
            ),
        ),
        ("limit:", "limits:", "x.yaml:8: 'budget' has an unknown field 'limits'; did you mean 'limit'?"),
        ("limit:", "limits:", "x.yaml:7: 'budget' has no 'limit'; add `limit:`"),
        (
            "prompt: |",
            "promt: |",
            "x.yaml:15: agent 'summary-draft' has no 'prompt'; add `prompt:`",
        ),
        (
            "prompt: |",
            "promt: |",
            "x.yaml:17: agent 'summary-draft' has an unknown field 'promt'; did you mean 'prompt'?",
        ),
        ("blueprint: 1", "blueprint: 2", "x.yaml:1: 'blueprint' cannot be '2'; use 1"),
        (
            "name: weekly-report",
            "name: Weekly Report",
            (
                "x.yaml:2: 'name' cannot be 'Weekly Report'; "
                "use lower-case letters, digits and dashes, starting with a letter: weekly-report"
            ),
        ),
        (
            '"A report: every week"',
            "2026",
            "x.yaml:3: 'description' should be text, not '2026'; put it in quotes: \"2026\"",
        ),
        ('"A report: every week"', "", "x.yaml:3: 'description' should be text, not nothing"),
        ('"A report: every week"', "{a: b}", "x.yaml:3: 'description' should be text, not a mapping"),
        (
            "type: file",
            "type: folder",
            "x.yaml:5: 'inputs.notes.type' cannot be 'folder'; use 'text', 'number' or 'file'",
        ),
        ("  weeks:", "  Weeks!:", "x.yaml:6: 'inputs' has a name that cannot be used: 'Weeks!'"),
        ("default: 1}", "default: one}", "x.yaml:6: the input 'weeks' is not a number: 'one'"),
        ("default: notes.md", "default: true", "x.yaml:5: 'inputs.notes.default' should be text, not 'true'"),
        ("default: notes.md", "default: 7", "x.yaml:5: the default of input 'notes' should be text"),
        (
            "temperature: 0.2",
            "temperature: 3",
            "x.yaml:9: 'defaults.temperature' is out of range: '3'; it must be at most 2",
        ),
        ("temperature: 0.2", "temperature: warm", "'defaults.temperature' is not a plain decimal number: 'warm'"),
        (
            "[summary-draft]",
            "summary-draft",
            "x.yaml:24: 'phases[1].agents[0].depends_on' should be a list, not 'summary-draft'",
        ),
        ("checkpoints: [summary]", "checkpoints: [draft]", "x.yaml:11: quality.checkpoints names 'draft'"),
        ("quality:\n  checkpoints: [summary]", "quality: high", "x.yaml:10: 'quality' should be a mapping of fields"),
        (
            "weeks }}\n",
            "week }}\n",
            "x.yaml:18: agent 'summary-draft' uses the input 'week', which is not declared; did you mean 'weeks'?",
        ),
        (
            "{{ inputs.notes }}",
            "{{ outputs.summary }}",
            "x.yaml:20: agent 'summary-draft' uses the output of 'summary' but does not depend on it",
        ),
        (
            "{{ inputs.notes }}",
            "{{ outputs.sumary_draft }}",
            (
                "x.yaml:20: agent 'summary-draft' uses the output of 'sumary_draft', which does not exist; "
                "did you mean 'summary'?"
            ),
        ),
        (
            "{{ outputs.summary_draft }}",
            "{{ outputs.summary }}",
            "x.yaml:26: agent 'summary' uses its own output; use the output of an agent it depends on",
        ),
        ("        depends_on: [summary-draft]\n", "", "add 'summary-draft' to its depends_on"),
        ("{{ inputs.notes }}", "{{ inputs.notes", "x.yaml:20: prompt of agent 'summary-draft': not a valid template"),
        ('"{{ outputs.summary_draft }}"', "{{ outputs.summary_draft }}", "x.yaml:26: a key must be plain text"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_its_fix(old: str, new: str, said: str) -> None:
    assert said in "\n".join(changed(old, new))


def test_problems_come_in_the_order_of_their_lines() -> None:
    text = FULL.replace("name: weekly-report", "name: A").replace("limit:", "limits:").replace("prompt: |", "promt: |")
    lines = [int(line.split(":")[1]) for line in problems_in(text)]
    assert lines == sorted(lines)
    assert len(lines) == 5


def test_json_is_read_as_well_as_yaml() -> None:
    agent = '{"name": "a", "instructions": "i", "prompt": "p", "depends_on": ["b"]}'
    text = (
        f'{{"blueprint": 1, "name": "x",\n\t"description": "d",\n\t"phases": [{{"name": "p", "agents": [\n{agent}]}}]}}'
    )
    assert problems_in(text, "x.json") == [
        "x.json:4: agent 'a' depends on 'b', which does not exist; no agent is declared"
    ]
    assert parse_blueprint(text.replace('["b"]', "[]"), name="x.json").name == "x"


def test_a_loaded_blueprint_knows_its_text_and_its_folder(tmp_path: Path) -> None:
    (tmp_path / "blueprint.yaml").write_text("\ufeff" + ONE_AGENT, "utf-8")
    loaded = load_blueprint(tmp_path / "blueprint.yaml")
    assert (loaded.blueprint.name, loaded.text, loaded.base_dir) == ("example", ONE_AGENT, tmp_path)
    assert load_blueprint(tmp_path) == loaded


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    assert problems_of_file(path) == [f"{path}: the blueprint does not exist; check the path"]
    path.write_bytes(b"name: x\ndescription: \xff\n")
    assert problems_of_file(path) == [f"{path}:2: not UTF-8 text; save the file as UTF-8"]
    path.write_bytes(b"a" * (MAX_BYTES + 1))
    assert problems_of_file(path) == [f"{path}: the blueprint is larger than 1 MiB; move long texts to input files"]
    assert "cannot be read: File name too long" in problems_of_file(tmp_path / ("a" * 300))[0]
    (tmp_path / "blueprint.yaml").mkdir()
    assert "is not a regular file" in problems_of_file(tmp_path)[0]


def test_two_hundred_agents_are_no_trouble() -> None:
    agents = "".join(
        f"      - {{name: a{n}, instructions: i, prompt: 'x {{{{ outputs.a{n // 2} }}}}', depends_on: [a{n // 2}]}}\n"
        for n in range(1, 200)
    )
    text = ONE_AGENT + "      - {name: a0, instructions: i, prompt: p}\n" + agents
    made = parse_blueprint(text, name="x.yaml")
    assert len(list(made.agents)) == 201
    assert made.ancestors("a199") == {"a99", "a49", "a24", "a12", "a6", "a3", "a1", "a0"}
