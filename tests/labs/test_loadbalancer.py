"""Which addresses lab loadbalancer gives, and how it reads what an account may do."""

from ipaddress import IPv4Address

import pytest

from l4lab.errors import UsageError
from l4lab.settings import parse
from labs.loadbalancer import facts
from labs.loadbalancer.objects import rights
from labs.loadbalancer.pool import pool


def topology(*, nodes="192.168.128.0/24", last=(11, 21, 22, 31)):
    base = nodes.rpartition(".")[0]
    names = ("k8s-master01", "k8s-node01", "k8s-node02", "mariadb01")
    roles = ("control_plane", "worker", "worker", "mariadb")
    machines = {
        name: {"role": role, "address": f"{base}.{number}"}
        for name, role, number in zip(names, roles, last, strict=True)
    }
    return parse({"network": {"nodes": nodes}, "machines": machines}, "test").topology


def test_addresses_are_of_the_node_network_and_nobodys():
    cluster = topology(last=(11, 192, 194, 31))
    assert pool(cluster, 2) == ("192.168.128.193", "192.168.128.195")


@pytest.mark.parametrize("nodes", ["192.168.128.0/24", "172.20.8.0/25", "10.9.0.0/26"])
def test_no_network_is_left_and_no_machine_met(nodes):
    cluster = topology(nodes=nodes, last=(2, 3, 4, 5))
    taken = {machine.address for machine in cluster.machines} | {cluster.networks.gateway}
    found = [IPv4Address(one) for one in pool(cluster, facts.POOL_SIZE)]
    assert len(set(found)) == facts.POOL_SIZE
    assert taken.isdisjoint(found)
    edges = {cluster.networks.nodes.network_address, cluster.networks.nodes.broadcast_address}
    assert all(one in cluster.networks.nodes and one not in edges for one in found)


def test_a_network_that_is_too_small_is_told():
    cluster = topology(nodes="192.168.128.0/26", last=(2, 3, 48, 49))
    assert len(pool(cluster, 13)) == 13
    with pytest.raises(UsageError, match="has no 14 free addresses"):
        pool(cluster, 14)


LISTED = """\
Resources                                  Non-Resource URLs   Resource Names   Verbs
selfsubjectreviews.authentication.k8s.io   []                  []               [create]
services/status                            []                  []               [get patch]
services                                   []                  []               [get list watch]
                                           [/healthz]          []               [get]
secrets                                    []                  [one]            [get]
secrets                                    []                  []               [list]
"""


def test_rights_are_read_by_resource_and_not_by_url():
    assert rights(LISTED) == {
        "selfsubjectreviews.authentication.k8s.io": {"create"},
        "services/status": {"get", "patch"},
        "services": {"get", "list", "watch"},
        "secrets": {"get", "list"},
    }
