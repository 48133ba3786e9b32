"""Lab service-fields: copies of a Service, and the table of wrong values."""

import importlib

import pytest

addresses = importlib.import_module("labs.service-fields.addresses")
facts = importlib.import_module("labs.service-fields.facts")
refusals = importlib.import_module("labs.service-fields.refusals")

LIVE = {
    "type": "NodePort",
    "clusterIP": "10.10.4.5",
    "clusterIPs": ["10.10.4.5"],
    "ipFamilies": ["IPv4"],
    "ipFamilyPolicy": "SingleStack",
    "internalTrafficPolicy": "Cluster",
    "selector": {"run": "fields"},
    "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP", "nodePort": 30391}],
}


class OneService:
    def __init__(self, spec):
        self.spec = spec

    def at(self, _vantage):
        return self

    def get(self, _kind, _name):
        return {"spec": self.spec}


def copied(spec, change):
    made = refusals.copy_of(OneService(spec), "any", change)
    assert made["metadata"] == {"name": facts.TRIED}
    return made["spec"]


def test_a_copy_asks_for_an_address_and_a_node_port_of_its_own():
    assert copied(LIVE, {}) == {
        "type": "NodePort",
        "internalTrafficPolicy": "Cluster",
        "selector": {"run": "fields"},
        "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}],
    }
    assert LIVE["ports"][0]["nodePort"] == 30391


def test_a_copy_of_a_headless_service_is_headless():
    headless = {**LIVE, "type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]}
    assert copied(headless, {})["clusterIP"] == "None"
    assert "clusterIPs" not in copied(headless, {})


def test_a_change_replaces_a_field_and_a_null_leaves_it_out():
    spec = copied(LIVE, {"ports": None, "port": [{"port": 80}], "clusterIP": "10.10.0.77"})
    assert "ports" not in spec
    assert spec["port"] == [{"port": 80}]
    assert spec["clusterIP"] == "10.10.0.77"


@pytest.mark.parametrize(
    ("addresses_of_network", "kept"), [(2**16, 256), (2**20, 256), (2**10, 64), (2**5, 16)]
)
def test_the_part_kept_for_choosing(addresses_of_network, kept):
    assert addresses.kept_for_choosing(addresses_of_network) == kept


def test_the_chosen_address_is_in_the_part_kept_for_choosing():
    assert 0 < facts.CHOSEN_OFFSET < addresses.kept_for_choosing(2**16)


def test_every_wrong_value_names_a_service_of_the_lab_and_what_the_refusal_says():
    cases = [case for part in facts.WRONG.values() for case in part]
    assert cases
    for case in cases:
        assert case["of"] in facts.SERVICES, case
        assert case["with"], case
        assert len(case["says"]) > 15, case
    assert len({case["says"] for case in cases}) == len(cases)
