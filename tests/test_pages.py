"""README, CONTRIBUTING and docs: links lead somewhere, and the commands, targets and tests that they name are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from vptstudy.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.M | re.S)


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings: lower case, letters, digits and hyphens."""
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", prose(page), re.M)}


def typed(page: Path) -> list[str]:
    """What a reader types: the lines of shell blocks, without their comments."""
    blocks = [text for _, language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language == "sh"]
    return [line.split(" #")[0].strip() for text in blocks for line in text.splitlines()]


def quoted(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if "://" not in link]
    for link in links:
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_can_be_typed(page):
    parser = main._parser()
    for line in typed(page):
        if line.startswith("vptcore "):
            parser.parse_args(shlex.split(line)[1:])  # SystemExit for a word that it does not know
    (commands,) = (action for action in parser._actions if action.dest == "command")
    for line in quoted(page):
        if line.startswith("vptcore ") and "|" not in line:
            _, command, *words = shlex.split(line)
            known = commands.choices[command]._option_string_actions
            assert {word for word in words if word.startswith("-")} <= set(known), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_targets_and_tests_are_there(page):
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    text = page.read_text(encoding="utf-8")
    assert {line.split()[1] for line in typed(page) + quoted(page) if re.match(r"make [a-z-]+$", line)} <= made
    for test in re.findall(r"tests/[\w/]+\.py", text):
        assert (ROOT / test).is_file(), test
