"""What the lab puts on the cluster: two Services for one database, and a pod to ask from."""

from __future__ import annotations

import pulumi

from l4lab.components.database import DatabaseClient, ServiceByEndpoints, ServiceBySlice
from l4lab.components.surroundings import surroundings
from l4lab.topology import Role
from labs.selectorless import facts


def program() -> None:
    """Declare the lab's resources."""
    around = surroundings()
    address = around.address_of(Role.MARIADB)
    mysql = ServiceBySlice(
        facts.SERVICE,
        slice_name=facts.SLICE,
        namespace=facts.NAMESPACE,
        address=address,
        port_name=facts.PORT_NAME,
        port=facts.PORT,
        protocol=facts.PROTOCOL,
    )
    ServiceByEndpoints(
        facts.CLASSIC,
        namespace=facts.NAMESPACE,
        address=address,
        port_name=facts.PORT_NAME,
        port=facts.PORT,
        protocol=facts.PROTOCOL,
    )
    DatabaseClient(
        facts.CLIENT,
        namespace=facts.NAMESPACE,
        image=facts.CLIENT_IMAGE,
        user=facts.USER,
        password=around.secret(facts.PASSWORD_FILE),
        schema=facts.SCHEMA,
    )
    pulumi.export("clusterIP", mysql.service.spec.cluster_ip)
