"""Comparing asserted fields only."""

import pytest

from l4lab.checks.diff import differences


def test_fields_that_are_not_asserted_do_not_matter():
    assert differences({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}) == []


def test_every_difference_is_told_with_its_path():
    expected = {"type": "ClusterIP", "ports": [{"port": 80, "name": "tcp-80"}]}
    actual = {"type": "NodePort", "ports": [{"port": 81}]}
    assert differences(expected, actual) == [
        "type: expected 'ClusterIP', found 'NodePort'",
        "ports[0].port: expected 80, found 81",
        "ports[0].name: expected 'tcp-80', found nothing",
    ]


def test_a_list_of_another_length_differs_as_a_whole():
    assert len(differences({"ports": [1]}, {"ports": [1, 2]})) == 1
    assert len(differences({"ports": [1]}, {"ports": None})) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("100m", "0.1"), ("1Gi", "1024Mi"), ("1", "1000m"), ("2k", "2000")]
)
def test_quantities_are_compared_by_value(one, other):
    assert differences({"cpu": one}, {"cpu": other}) == []


@pytest.mark.parametrize(("one", "other"), [("1Gi", "1G"), (80, "80"), (1, True), ("a", "b")])
def test_what_is_not_the_same(one, other):
    assert (one == other and type(one) is not type(other)) or differences({"x": one}, {"x": other})
