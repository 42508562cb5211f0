"""Topics as they are declared, on a real broker: planned, created once, then left alone."""

import pytest

from schemas.topics import TOPICS
from tests.integration.product import Product

pytestmark = pytest.mark.timeout(240)


def test_topics_are_planned_created_once_and_then_left_alone(real_product: Product) -> None:
    before, made, after = real_product.topics[:3]
    assert (before["code"], {t["action"] for t in before["topics"]}) == (1, {"create"})
    assert (made["code"], sorted(made["created"])) == (0, sorted(t.name for t in TOPICS))
    assert (after["code"], {t["action"] for t in after["topics"]}) == (0, {"ok"})
    again = real_product.ehps("topics", "apply")
    assert (again["created"], again["differing"]) == ([], [])


def test_doctor_finds_nothing_wrong_while_all_runs(product: Product) -> None:
    product.settle()
    report = product.ehps("doctor")
    assert (report["ok"], report["problems"]) == (True, [])
