"""What lab selectorless takes for granted of the database host."""

from pathlib import Path

import pytest
import yaml

from labs.selectorless import facts
from labs.selectorless.scene import covers

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
