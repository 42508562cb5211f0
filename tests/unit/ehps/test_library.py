"""Content files: refused before anything starts, naming file, key and what is legal; addressed by hash."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources

import pytest

from ehps.errors import ContentError, ContentMissing
from ehps.library import KERNEL_VERSION, Library

FOLDER = resources.files("ehps") / "content"
LA = "E06000023"


def shipped(name: str) -> str:
    return (FOLDER / name).read_text()


def with_file(name: str, text: str) -> Library:
    return Library.packaged({name: text.encode()})


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("policy-default.yaml", "green: 30", "green: 3O", "policy-mine.yaml: lines.green: "),
        ("policy-default.yaml", "green: 30", "green: 20", "0 < down < green < amber < red"),
        ("policy-default.yaml", "quiet_days: 182", "quiet_day: 182", "step_down.quiet_days: "),
        ("policy-default.yaml", "calendar-england", "calendar-wales", "held: calendar-england"),
        (
            "policy-default.yaml",
            "{police: 2",
            "{polcie: 2",
            "heard_within_days names 'polcie'; legal: ",
        ),
        ("policy-default.yaml", "  none: ", "  nobody: ", "routes lacks none"),
        (
            "release-starter.yaml",
            "police.missing:",
            "police.mising:",
            "'police.mising'; legal kinds: ",
        ),
        ("release-starter.yaml", "headings: {", "headings: }", "line 8: not valid YAML"),
        ("combinations-starter.yaml", '"#missing"', '"#mising"', "names 'mising'; legal: "),
        ("combinations-starter.yaml", "days: 90, at_least: 3", "at_least: 3", "needs days"),
        (
            "combinations-starter.yaml",
            '{none: ["#harm"], days: 182}',
            '{none: ["#harm"], days: 182, at_least: 2}',
            "at_least and agencies belong to a condition with any",
        ),
        ("combinations-starter.yaml", "clock: {hours: 6}", "clock: {}", "either hours or days"),
        ("calendar-england.yaml", 'open: "09:00"', 'open: "25:00"', "working_hours.open: a time"),
    ],
)
def test_a_file_with_an_error_is_refused_naming_it_the_key_and_what_is_legal(
    file: str, old: str, new: str, says: str
) -> None:
    text = shipped(file)
    assert old in text
    name = file.split("-", maxsplit=1)[0] + "-mine.yaml"

    with pytest.raises(ContentError) as refused:
        with_file(name, text.replace(old, new, 1))

    assert str(refused.value).startswith(f"{name}: ")
    assert says in str(refused.value)


def test_a_council_s_policy_stands_beside_the_shipped_one_and_a_control_can_name_it() -> None:
    text = shipped("policy-default.yaml").replace("policy-default-1", "policy-mine-1")
    library = with_file("policy-mine.yaml", text.replace("green: 30", "green: 35"))
    control = library.control(LA, datetime(2026, 1, 1, tzinfo=UTC), "c", policy="policy-mine-1")

    content = library.resolve(control.kernel, control.release, control.rules, control.policy)

    assert content.policy.lines.green == 35
    assert control.policy != library.default_control(LA, control.effective).policy


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(ContentError, match="a new version needs a new name"):
        with_file("policy-mine.yaml", shipped("policy-default.yaml") + "\n# other\n")


def test_another_calendar_makes_another_policy() -> None:
    calendar = shipped("calendar-england.yaml").replace('close: "17:00"', 'close: "16:00"')
    policy = shipped("policy-default.yaml").replace("policy-default-1", "policy-mine-1")
    policy = policy.replace("calendar-england", "calendar-mine")
    files = {"calendar-mine.yaml": calendar.encode(), "policy-mine.yaml": policy.encode()}
    mine = Library.packaged(files).named("policy", "policy-mine-1").hash
    files["calendar-mine.yaml"] += b"# one more bank holiday\n"

    assert Library.packaged(files).named("policy", "policy-mine-1").hash != mine


def test_content_that_is_not_held_is_named() -> None:
    library = Library.packaged()
    control = library.default_control(LA, datetime(2026, 1, 1, tzinfo=UTC))

    with pytest.raises(ContentMissing, match="release 000000000000"):
        library.resolve(KERNEL_VERSION, "0" * 64, control.rules, control.policy)
    with pytest.raises(ContentMissing, match="kernel 9"):
        library.resolve(9, control.release, control.rules, control.policy)
