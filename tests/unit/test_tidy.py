"""The repository's own rules that no linter knows: sizes, leftovers, and what must never be written down."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("schemas", "ehps", "streams", "deploy", "benchmarks", "docs")
MODULE_LINES_MAX = 500
TEST_MODULE_LINES_MAX = 700
"""A test module may be longer: much of it is tables of cases."""
FUNCTION_LINES_MAX = 70
SPEAK = ("benchmarks/", "deploy/stack.py", "deploy/health.py", "deploy/child.py", "tests/")
"""Where `print` is how an answer is given; the command line has `say`, `note` and `emit`."""

# A letter in brackets, so that this file does not break its own rules.
LEFTOVERS = re.compile(r"\b(TO[D]O|FIX[M]E)\b")
NEVER = {
    "a registry's host": re.compile(
        r"py[p]i\.org|python[h]osted|artifact[o]ry|repo1\.m[a]ven|registry\.n[p]m|--(extra-)?index-[u]rl"
    ),
    "a path of one machine": re.compile(r"(?<![\w.<-])/(work|home|root|Users|tmp/wt)/[a-z]"),
    "a number of an issue": re.compile(
        r"\b(issue|ticket|pull request|PR) #?\d+\b|(?<![\w&/])#\d+\b"
    ),
}


def tracked() -> list[Path]:
    """Files under version control, or, in an exported tree, all but what set-up makes."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    names = done.stdout.decode().split("\0") if done.returncode == 0 else []
    found = [ROOT / name for name in names if name]
    return [path for path in found or _everything() if path.is_file()]


def _everything() -> list[Path]:
    return [
        path
        for path in ROOT.rglob("*")
        if not any(
            part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts
        )
    ]


FILES = tracked()
PYTHON = [path for path in FILES if path.suffix == ".py"]


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""  # an encoding on purpose, or no text at all


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_modules_and_functions_are_small_and_say_what_they_are(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    most = TEST_MODULE_LINES_MAX if name_of(path).startswith("tests/") else MODULE_LINES_MAX
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]

    assert source.count("\n") <= most
    assert long == []
    assert ast.get_docstring(tree), "a module's first line says what it is for"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_is_written_down_that_belongs_elsewhere(path: Path) -> None:
    text = text_of(path)
    found = [
        f"{what}: {hit[0]}"
        for what, pattern in NEVER.items()
        for hit in [pattern.search(text)]
        if hit
        and not (
            what == "a number of an issue" and path.suffix in {".json", ".xml", ".svg", ".txt"}
        )
    ]

    assert found == []


def test_nothing_is_left_for_later() -> None:
    left = [
        f"{name_of(path)}:{number}"
        for path in PYTHON
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if LEFTOVERS.search(line)
    ]

    assert left == []


def test_only_commands_print() -> None:
    prints = [
        f"{name_of(path)}:{node.lineno}"
        for path in PYTHON
        if not name_of(path).startswith(SPEAK)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]

    assert prints == []


def test_data_beside_the_repository_is_read_by_tests_alone() -> None:
    outside = [
        name_of(path)
        for path in FILES
        if not name_of(path).startswith("tests/") and re.search(r"\.\./shared", text_of(path))
    ]

    assert outside == []


def test_every_package_of_code_is_known_here() -> None:
    packages = {path.relative_to(ROOT).parts[0] for path in PYTHON}

    assert packages <= {*CODE, "tests"}
