"""What is told of a death in mode nftables: whose rules are suspected, and what is known."""

from tests.unit.checks.test_nft import TABLE
from tests.unit.path.world import CLUSTER, FAR, MASTER, NODE1, NODE2, TIMEOUT

OWN_RULES = f"""table ip kube-proxy {{
 chain cluster-ips-check {{
  ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"
  ip daddr {CLUSTER} drop
 }}
}}
"""
THEIR_RULES = f"table inet theirs {{\n chain out {{\n  ip daddr {FAR} drop\n }}\n}}\n"


def in_nftables(world, rules):
    """Nothing is noted of a connection whose first packet never left."""
    world.nothing_came_back(TIMEOUT)
    for node in (MASTER, NODE1, NODE2):
        world.set(node, "mode", "nftables")
        world.set(node, "maps", TABLE.read_text())
        world.set(node, "rules", rules)
    return world.follow("client", "my-nginx").death


def test_in_mode_nftables_kube_proxys_rules_are_not_suspected(world):
    death = in_nftables(world, OWN_RULES)
    assert death.hop == "proxy"
    assert death.seen == f"no connection to {CLUSTER}:80 has left {NODE2}"
    assert death.causes == (f"a firewall rule on {NODE2} drops it, before the row or behind it",)


def test_in_mode_nftables_a_rule_about_any_of_the_pods_is(world):
    death = in_nftables(world, OWN_RULES + THEIR_RULES)
    assert death.causes[0] == f"a rule on {NODE2}: inet theirs out: ip daddr {FAR} drop"
