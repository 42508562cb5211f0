"""The documentation says what is so: its links, tables, commands, settings, codes and tests exist."""

from __future__ import annotations

import ast
import hashlib
import hmac
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from docs.tables import filled
from ehps.advance import TIMERS_A_HEARTBEAT_MAX
from ehps.catalogue import FACTS_MAX
from ehps.facts import FACT
from schemas.outputs import Alert
from schemas.validate import CODES, MESSAGE_BYTES_MAX
from streams.cli import app
from streams.config import Settings
from streams.importers.pseudonym import person_pseudonym

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = {page: page.read_text() for page in PAGES}
ALL = "\n".join(TEXT.values())
CLI: Any = typer.main.get_command(app)
WRITTEN_ELSEWHERE: set[str] = set()
"""Pages of other hands: a link to one may come before the page does."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", TEXT[page]):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if file.name in WRITTEN_ELSEWHERE:
            continue
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)

    assert broken == []


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_is_reached_from_the_readme_or_a_page_it_names() -> None:
    linked = {Path(name).name for name in re.findall(r"\]\(([^)#\s]+\.md)", ALL)}

    assert {page.name for page in PAGES} - {"README.md"} <= linked


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tables_are_those_of_the_code(page: Path) -> None:
    assert filled(TEXT[page]) == TEXT[page], "run `make docs`"


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that does something, as its words."""
    if not hasattr(group, "commands"):
        yield path
        return
    for name, command in group.commands.items():
        yield from commands(command, (*path, name))


COMMANDS = sorted(commands(CLI))


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and what follows it."""
    command = CLI
    while words and hasattr(command, "commands"):
        found = command.commands.get(words[0])
        assert found is not None, f"there is no command {words[0]}"
        command, words = found, words[1:]
    return command, words


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_is_documented_and_has_an_example(path: tuple[str, ...]) -> None:
    command, _ = command_of(list(path))

    assert f"ehps {' '.join(path)}" in ALL
    assert "Example:" in (command.help or "")


def documented() -> list[tuple[str, str]]:
    """Command lines of the pages: in code blocks, and between backquotes."""
    found = []
    for page, text in TEXT.items():
        blocks = "\n".join(re.findall(r"^```(?:sh)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
        lines = [*blocks.splitlines(), *re.findall(r"^    (.+)$", text, re.MULTILINE)]
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        lines += [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose)]
        for line in lines:
            match = re.match(r"(?:[A-Z_]+=(?:'[^']*'|\S+) )*(ehps [a-z].*)", line)
            if match:
                found.append((name_of(page), match[1]))
    return sorted(set(found))


@pytest.mark.parametrize(("page", "line"), documented())
def test_documented_command_lines_are_understood(page: str, line: str) -> None:
    _, *words = shlex.split(line, comments=True)
    command, rest = command_of(words)
    flags = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    flags |= {"--help", "-h"}

    assert [
        word for word in rest if word.startswith("--") and word.split("=")[0] not in flags
    ] == []


def test_every_setting_that_pages_name_exists() -> None:
    legal = {f"EHPS_{name.upper()}" for name in Settings.model_fields}

    assert set(re.findall(r"\bEHPS_[A-Z_]+\b", ALL)) <= legal


def test_every_dead_letter_code_is_explained_in_its_table() -> None:
    section = (ROOT / "docs/contracts.md").read_text().partition("## Refused messages")[2]
    explained = re.findall(r"^\| `(\w+)` \|", section.partition("\n## ")[0], re.MULTILINE)

    assert sorted(explained) == sorted(CODES)


def test_the_fields_that_only_a_raised_alert_has_are_named() -> None:
    page = (ROOT / "docs/contracts.md").read_text()
    section = page.partition("Only a `raised` alert")[2].partition("are absent")[0]
    optional = {name for name, field in Alert.model_fields.items() if not field.is_required()}

    assert set(re.findall(r"`(\w+)`", section)) == optional - {"at"}


def names_of_tests_in(path: Path) -> set[str]:
    """Names of the tests of a module, those of a class as Class::test."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{n.name}" for n in node.body if isinstance(n, ast.FunctionDef)}
    return found


def test_every_test_that_pages_name_exists() -> None:
    missing = []
    for name in set(re.findall(r"`(tests/[\w/]+\.py(?:::[\w:]+)?)`", ALL)):
        file, _, test = name.partition("::")
        if not (ROOT / file).is_file() or (test and test not in names_of_tests_in(ROOT / file)):
            missing.append(name)

    assert missing == []


def test_every_module_and_file_that_pages_name_exists() -> None:
    named = re.findall(r"`((?:schemas|ehps|streams|deploy|tests|docs)/[\w/.-]*)`", ALL)

    assert (
        sorted(
            name
            for name in set(named)
            if not (ROOT / name).exists() and Path(name).name not in WRITTEN_ELSEWHERE
        )
        == []
    )


def test_every_make_target_is_in_the_menu_and_every_one_in_the_menu_exists() -> None:
    menu = set(re.findall(r"^\| `make (\w+)", TEXT[ROOT / "CONTRIBUTING.md"], re.MULTILINE))
    targets = set(re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)) - {
        "help"
    }

    assert menu == targets


def test_the_pseudonym_of_the_readme_is_the_same_in_python_in_the_shell_and_in_the_importers() -> (
    None
):
    readme = TEXT[ROOT / "README.md"]
    line = re.findall(r'^("person-" \+ hmac.*)$', readme, re.MULTILINE)[0]
    script = re.findall(r"^(child=.*)$", readme, re.MULTILINE)[0]
    said = eval(line, {"hmac": hmac, "hashlib": hashlib})  # noqa: S307  (a line of our own page)
    shell = subprocess.run(
        ["bash", "-c", f"{script}; echo $child"], capture_output=True, text=True, check=True
    ).stdout.strip()
    key = b"the secret agreed for the authority"

    assert said == shell == person_pseudonym(key, "NHS|9434765919")


def test_figures_that_pages_quote_are_the_code_s() -> None:
    assert f"{FACT.itemsize} bytes each" in TEXT[ROOT / "docs/architecture.md"]
    assert f"({FACTS_MAX} facts of a horizon class)" in TEXT[ROOT / "docs/guarantees.md"]
    assert f"at most {MESSAGE_BYTES_MAX // 1024} KiB" in TEXT[ROOT / "docs/contracts.md"]
    assert TIMERS_A_HEARTBEAT_MAX == 1000
