"""What lab selectorless takes for granted of the database host, and what its checks read."""

from pathlib import Path

import pytest
import yaml

from l4lab.checks import Unmet
from labs.selectorless import facts, objects
from labs.selectorless.scene import LABEL, covers
from tests.unit.checks.world import topology

ROLE = Path(__file__).parents[2] / "playbooks" / "roles" / "mariadb"


def test_the_facts_are_those_of_the_role():
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    assert (
        defaults["mariadb_schema"],
        defaults["mariadb_user"],
        defaults["mariadb_port"],
    ) == (facts.SCHEMA, facts.USER, facts.PORT)
    password = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["mariadb_password"]
    assert f"/{facts.PASSWORD_FILE}'" in password


@pytest.mark.parametrize(
    ("host", "address", "covered"),
    [
        ("192.168.128.0/255.255.255.0", "192.168.128.21", True),
        ("192.168.128.0/255.255.255.0", "192.168.129.21", False),
        ("10.10.0.0/255.255.0.0", "192.168.128.21", False),
        ("192.168.128.21", "192.168.128.21", True),
        ("192.168.128.2", "192.168.128.21", False),
        ("%", "192.168.128.21", True),
        ("localhost", "192.168.128.21", False),
    ],
)
def test_an_account_is_for_the_addresses_of_its_host(host, address, covered):
    assert covers(host, address) is covered


class Api:
    """A look at a cluster with the Service and one slice for it."""

    def __init__(self, endpoints):
        port = {"name": facts.PORT_NAME, "port": facts.PORT, "protocol": facts.PROTOCOL}
        self.topology = topology()
        self.service = {"spec": {"ports": [port]}}
        self.slice = {
            "metadata": {"name": facts.SLICE, "labels": {LABEL: facts.SERVICE}},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [port],
        }

    def get(self, _kind, _name):
        return self.service

    def find(self, _kind, _labels):
        return [self.slice]


@pytest.mark.parametrize("endpoints", [[], None])
def test_a_slice_that_names_nobody_is_red(endpoints):
    with pytest.raises(Unmet, match=r"endpoints: expected .*192\.168\.128\.31") as raised:
        objects.slice_made.function(Api(endpoints))
    assert raised.value.causes
    assert raised.value.then


def test_the_slice_names_the_database_and_no_pod():
    host = {"addresses": ["192.168.128.31"]}
    assert "no pod" in objects.slice_made.function(Api([host])).text
    with pytest.raises(Unmet, match="targetRef"):
        objects.slice_made.function(Api([host | {"targetRef": {"kind": "Pod", "name": "web"}}]))
