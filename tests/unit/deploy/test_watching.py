"""Rules, dashboard, code and documentation speak of the same figures; compose mounts and scrapes what is there."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from streams import metrics
from streams.progress import Progress

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "ehps.json"
OPERATIONS = ROOT / "docs" / "operations.md"
NAME = re.compile(r"\b(?:ehps|process)_[a-z_]+\b")
SUFFIX = re.compile(r"_(?:bucket|count|sum)$")
OF_PROMETHEUS = {"process_resident_memory_bytes"}


def declared() -> set[str]:
    """Names of all series that a worker may serve, histograms without their suffixes."""
    collectors = (metrics.LoopCollector([]), metrics.StateCollector(Progress("scorer")))
    found = {family.name: family.type for family in metrics.REGISTRY.collect()}
    found |= {family.name: family.type for one in collectors for family in one.collect()}
    ends = {"counter": "_total", "info": "_info"}
    return {name + ends.get(kind, "") for name, kind in found.items() if name.startswith("ehps_")}


def used(text: str) -> set[str]:
    return {SUFFIX.sub("", name) for name in NAME.findall(text)} - OF_PROMETHEUS


def alert_names() -> set[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}


def test_every_figure_that_rules_and_dashboard_name_is_served() -> None:
    assert used(RULES.read_text()) <= declared()
    assert used(DASHBOARD.read_text()) <= declared()


def test_every_figure_that_is_served_is_on_the_dashboard_and_documented() -> None:
    assert declared() - used(DASHBOARD.read_text()) == set()
    assert declared() - used(OPERATIONS.read_text()) == set()


def test_operations_say_what_to_do_for_every_alert() -> None:
    headings = set(re.findall(r"^\| `(Ehps\w+)`", OPERATIONS.read_text(), re.MULTILINE))
    assert headings == alert_names()


def test_no_label_names_a_family_or_a_person() -> None:
    allowed = {"role", "step", "la", "kind", "state", "stage", "outcome", "source", "code"}
    allowed |= {"bound", "reason"}
    for collector in metrics.REGISTRY._collector_to_names:
        assert set(getattr(collector, "_labelnames", ())) <= allowed


def test_panels_have_unique_numbers_and_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells)


@pytest.mark.parametrize(
    "words", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")]
)
def test_promtool_passes_the_rules(words: tuple[str, str, str]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    command = ["promtool", *words[:2], str(RULES.parent / words[2])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_rule_has_a_test_of_its_own() -> None:
    text = (RULES.parent / "rules_test.yml").read_text()
    fired = re.findall(r"alertname: (\w+)\n\s+exp_alerts", text)
    assert set(fired) == alert_names()


def test_compose_mounts_files_that_exist_and_scrapes_services_that_run() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = [
        mount.split(":")[0]
        for service in services.values()
        for mount in service.get("volumes", ())
        if mount.startswith("./")
    ]
    config = yaml.safe_load((RULES.parent / "prometheus.yml").read_text())
    targets = config["scrape_configs"][0]["static_configs"][0]["targets"]
    workers = {name for name, service in services.items() if "worker" in service.get("command", ())}
    assert all((ROOT / mount).is_file() for mount in mounts)
    assert {target.partition(":")[0] for target in targets} == workers


def test_operations_say_what_to_do_for_every_cause_that_doctor_names() -> None:
    modules = ("checks", "room", "doctor")
    code = "".join((ROOT / "streams" / f"{name}.py").read_text() for name in modules)
    named = set(re.findall(r'Finding\(\s*f?"(\w+)', code)) - {"no_"}
    said = set(
        re.findall(
            r"`([a-z]+(?:_[a-z]+)+|stuck|behind|crashing|refusing|rebalancing)`",
            OPERATIONS.read_text(),
        )
    )
    assert named | {"no_scorer", "no_intake"} <= said
