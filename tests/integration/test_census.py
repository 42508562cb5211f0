"""A Children in Need census, from its file to explained alerts with two commands."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from streams.importers.cin_census import read_census
from tests.integration.product import LA, Product

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "schemas" / "json" / "alert" / "1.json"
FIXTURES = sorted((ROOT / "tests" / "fixtures" / "cin_census").glob("*.xml"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The fixtures, as sent by an authority that is not live here."""
    folder = tmp_path_factory.mktemp("census")
    for path in FIXTURES:
        changed = path.read_bytes().replace(b"<LEA>801<", b"<LEA>850<")
        # Domestic abuse and mental ill-health stand there: with a parent's drug misuse it is C2.
        factor = b"<AssessmentFactors>4B</AssessmentFactors>"
        changed = changed.replace(factor, factor + factor.replace(b"4B", b"2B"))
        (folder / path.name).write_bytes(changed)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def imported(product: Product, files: list[Path]) -> dict[str, Any]:
    """What the import said of all files."""
    paths = [str(path) for path in files]
    said = product.ehps("import", "cin-census", *paths, "--publish")
    product.settle()
    return said


@pytest.fixture
def families(product: Product, files: list[Path]) -> list[str]:
    """Family keys of the fixtures' children."""
    key = product.environment["EHPS_PSEUDONYM_KEY"].encode()
    found: dict[str, None] = {}
    for path in files:
        with read_census(path, key=key, la=None) as census:
            for message in census.messages():
                if message["type"] == "link.person.v1":
                    found[f"{message['la']}:{message['data']['family']}"] = None
    return list(found)


def test_the_import_reports_what_it_took_and_published(imported: dict[str, Any]) -> None:
    assert imported["ok"]
    assert imported["published"] > 20
    assert len(imported["files"]) == len(FIXTURES)


@pytest.mark.usefixtures("imported")
def test_contributions_add_up_exactly_to_the_score(product: Product, families: list[str]) -> None:
    scored = 0
    for family in families:
        explained = product.explain(family)
        parts = explained["contributions"]
        assert sum(part["units"] for part in parts) == explained["score_units"]
        assert all(part["facts"] or part["kind"] == "headings" for part in parts)
        assert all(fact["occurred"] for part in parts for fact in part["facts"])
        scored += bool(parts)
    assert scored > 0


@pytest.mark.usefixtures("imported")
def test_any_consumer_can_read_alerts_by_the_published_schema(product: Product) -> None:
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    alerts = [a for a in product.documents("ehps.alerts.v1") if a["la"] != LA]
    assert "C2" in {alert["rule"] for alert in alerts}
    for alert in alerts:
        problems = list(_problems(validator, alert))
        assert not problems, problems
        if alert["state"] == "raised":
            assert sum(part["units"] for part in alert["contributions"]) == alert["score_units"]


@pytest.mark.usefixtures("imported")
def test_a_score_in_points_is_its_units_rounded(product: Product, families: list[str]) -> None:
    explained = product.explain(families[0])
    assert math.isclose(
        explained["score_units"] / explained["unit"], explained["points"], abs_tol=0.005
    )


@pytest.mark.usefixtures("imported")
def test_a_census_is_accounted_for_and_replays_the_same(product: Product) -> None:
    account = product.ehps("reconcile")
    assert (account["unaccounted"], account["problems"]) == (0, [])
    assert product.ehps("replay", "--verify")["replay_differences"] == 0


def test_a_file_that_is_refused_is_named_and_nothing_is_sent(
    product: Product, tmp_path: Path
) -> None:
    other = tmp_path / "minutes.xml"
    other.write_text("<Minutes><Item/></Minutes>")
    before = len(product.read("agency.social-care.v1"))
    said = product.ehps("import", "cin-census", str(FIXTURES[0]), str(other), "--publish", code=1)
    assert str(other) in said["error"]
    assert len(product.read("agency.social-care.v1")) == before


def test_a_census_of_a_live_authority_is_sent_only_as_known_now(product: Product) -> None:
    words = ("import", "cin-census", str(FIXTURES[0]), "--publish")
    before = len(product.read("agency.social-care.v1"))
    refused = product.ehps(*words, code=1)
    assert f"{LA} is live" in refused["error"]
    assert "--as-known-today" in refused["error"]
    assert len(product.read("agency.social-care.v1")) == before
    said = product.ehps(*words, "--as-known-today")
    product.settle()
    assert said["known_now"] == [LA]
    assert said["published"] > 5
    account = product.ehps("reconcile")
    assert (account["unaccounted"], account["waiting"]) == (0, 0)


def _problems(validator: Draft202012Validator, alert: dict[str, Any]) -> Iterator[str]:
    for error in validator.iter_errors(alert):
        yield f"{'/'.join(map(str, error.path))}: {error.message}"
