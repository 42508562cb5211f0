"""The house: who may import whom, what importing does, what the core may not know, what set-up installs."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from importlinter.cli import lint_imports
from jsonschema import Draft7Validator

ROOT = Path(__file__).parents[2]
PURE = sorted(path for package in ("schemas", "ehps") for path in (ROOT / package).rglob("*.py"))
ASKED = re.compile(
    r"(^|\.)(now|utcnow|today|monotonic|perf_counter|time_ns|time\.time|getenv|urandom|uuid[14])$"
)
"""Calls that would make the core's answer depend on when or where it is asked."""
PRODUCT = re.compile(
    r"^np\.(vdot|vecdot|matvec|vecmat|inner|matmul|tensordot|einsum|cov|corrcoef|polyfit|convolve|correlate)$"
    r"|\.dot$|(^|\.)linalg(\.|$)"
)
"""What numpy hands to a library with a thread for each processor: broker and Redis need those."""


def test_nobody_imports_against_the_arrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    assert lint_imports(config_filename="pyproject.toml") == 0


WATCH = """
import importlib, pkgutil, sys, threading
happened = []
STARTS = ("socket.", "subprocess.", "os.fork", "os.system", "os.exec", "os.posix_spawn", "os.kill",
          "os.mkdir", "os.remove", "os.rename", "os.putenv", "shutil.", "sqlite3.", "tempfile.")
OURS = tuple(f"{ROOT}/{package}/" for package in ("schemas", "ehps", "streams"))
def ours():
    # What a library does when it is imported is its own affair: the innermost frame that is no
    # part of Python says who asked.
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if "site-packages" in file or file.startswith(OURS):
            return file.startswith(OURS)
        frame = frame.f_back
    return False
def watch(event, args):
    if not (event == "open" or event.startswith(STARTS)) or not ours():
        return
    if event.startswith(STARTS):
        happened.append(f"{event} {args!r:.100}")
    elif not str(args[0]).endswith((".py", ".pyc", ".so")) and "zoneinfo" not in str(args[0]):
        happened.append(f"reads {args[0]}")
names = [name for package in ("schemas", "ehps", "streams")
         for _, name, _ in pkgutil.walk_packages([f"{ROOT}/{package}"], f"{package}.")
         if not name.endswith("__main__")]
sys.addaudithook(watch)
for name in names:
    importlib.import_module(name)
happened += [f"thread {t.name}" for t in threading.enumerate() if t is not threading.main_thread()]
print(len(names), *happened, sep="\\n")
"""


def test_importing_any_module_opens_and_starts_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", f"ROOT = {str(ROOT)!r}\n{WATCH}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    count, *happened = done.stdout.split("\n")[:-1]

    assert happened == []
    assert int(count) > 60, "modules were found"


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_has_no_clock_no_environment_and_no_chance(path: Path) -> None:
    used = [
        f"{node.lineno}: {name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for name in [_dotted(node.func)]
        if ASKED.search(name) or _unseeded(node, name)
    ]

    assert used == []


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_multiplies_no_matrices_since_numpy_takes_every_processor_for_that(
    path: Path,
) -> None:
    tree = list(ast.walk(ast.parse(path.read_text())))
    used = [f"{n.lineno}: @" for n in tree if isinstance(getattr(n, "op", None), ast.MatMult)]
    named = [n for n in tree if isinstance(n, (ast.Name, ast.Attribute))]
    used += [f"{n.lineno}: {name}" for n in named if PRODUCT.search(name := _dotted(n))]
    imported = [n for n in tree if isinstance(n, ast.ImportFrom)]
    used += [f"{n.lineno}: {n.module}" for n in imported if PRODUCT.search(n.module or "")]

    assert used == []


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _unseeded(call: ast.Call, name: str) -> bool:
    """A generator without a seed, or one that the whole process shares."""
    if name.endswith(("default_rng", "Random")):
        return not call.args and not call.keywords
    return bool(re.match(r"(np\.|numpy\.)?random\.[a-z]", name))


def test_compose_file_is_one_by_its_published_schema() -> None:
    package = importlib.util.find_spec("check_jsonschema")
    assert package is not None
    assert package.origin is not None
    schema = Path(package.origin).parent / "builtin_schemas/vendor/compose-spec.json"
    validator = Draft7Validator(json.loads(schema.read_text()))
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())

    assert [
        f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)
    ] == []


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt", "uv.txt"])
def test_every_required_package_is_pinned_by_hash_and_names_no_registry(name: str) -> None:
    text = re.sub(r"^\s*#.*$", "", (ROOT / "requirements" / name).read_text(), flags=re.MULTILINE)
    entries = [entry for entry in re.split(r"\n(?=\S)", text.replace("\\\n", "")) if entry.strip()]

    assert entries
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
    assert "://" not in text


def test_what_the_wheel_needs_is_among_what_is_locked() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    held = {
        _normal(found[1])
        for found in re.finditer(
            r"^([\w.-]+)==", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE
        )
    }

    assert {_normal(re.match(r"[\w.-]+", name)[0]) for name in wanted} - held == set()  # type: ignore[index]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
