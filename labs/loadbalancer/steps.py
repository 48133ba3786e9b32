"""The steps of the guide: what a learner types, and which checks prove what the step says."""

from __future__ import annotations

import json

from l4lab.guide import Command, Step
from l4lab.topology import Topology
from labs.loadbalancer import facts
from labs.loadbalancer.pool import pool

_SERVICE = "./l4lab kubectl get service"
_ACCOUNT = f"system:serviceaccount:{facts.NAMESPACE}:{facts.ALLOCATOR}"
_SELECTOR = ",".join(f"{key}={value}" for key, value in facts.LABELS.items())
_STATUS = "curl -sS -o /dev/null -w '%{http_code}\\n' --connect-timeout 3"
_SET = "KUBE-LOAD-BALANCER-SOURCE-CIDR"
# In mode nftables no node has the address, so nobody outside finds it: what asks there is for this
# mode, and so is what lies in an ipset.
_BOUND = "ipvs"
# A cluster needs a moment until every kernel has followed.
_SOON = 30.0
_LATER = 90.0


def _read(variable: str, service: str, path: str) -> Command:
    return Command(text=f"{variable}=$({_SERVICE} {service} -o jsonpath='{{{path}}}')")


def _patch(service: str, spec: dict[str, object]) -> Command:
    change = json.dumps({"spec": spec}, separators=(",", ":"))
    return Command(
        text=f"./l4lab kubectl patch service {service} --type=merge -p '{change}'",
        shows=("patched",),
    )


def _has(service: str, shows: str) -> Command:
    return Command(text=f"{_SERVICE} {service}", shows=(shows,), within=_LATER)


def steps(topology: Topology) -> tuple[Step, ...]:
    """The steps of the lab on that cluster, in their order."""
    worker, master = topology.workers[0], topology.control_plane
    range_ = "|".join(address.replace(".", r"\.") for address in pool(topology, facts.POOL_SIZE))
    gateway = topology.networks.gateway
    url = f"http://$LB:{facts.PORT}/"
    ours = {"type": "LoadBalancer", "loadBalancerClass": facts.LB_CLASS}
    local = ours | {"externalTrafficPolicy": "Local", "allocateLoadBalancerNodePorts": False}
    return (
        Step(
            id="pending",
            do=(
                Command(
                    text=f"{_SERVICE} {facts.PENDING}",
                    shows=(rf"^{facts.PENDING} +LoadBalancer +\S+ +<pending> ",),
                ),
                _read("NODEPORT", facts.PENDING, ".spec.ports[0].nodePort"),
                Command(
                    text=f"./l4lab exec {_STATUS} http://{worker.address}:$NODEPORT/",
                    shows=("^200$",),
                    within=_SOON,
                ),
                _read("CIP", facts.PENDING, ".spec.clusterIP"),
                Command(
                    text=f"./l4lab ssh {worker.name} curl -sS http://$CIP:{facts.PORT}/",
                    shows=("<title>Welcome to nginx!</title>",),
                    within=_SOON,
                ),
            ),
            checks=("service-fields", "pending", "pending-works"),
        ),
        Step(
            id="allocator",
            do=(
                Command(
                    text=f"./l4lab kubectl get configmap {facts.ALLOCATOR} -o yaml",
                    shows=("kubectl patch service",),
                ),
                Command(
                    text=f"./l4lab kubectl auth can-i patch services --subresource=status "
                    f"--as={_ACCOUNT}",
                    shows=("^yes$",),
                ),
                Command(
                    text=f"./l4lab kubectl auth can-i delete services --as={_ACCOUNT}",
                    shows=("^no$",),
                    rc=1,
                ),
            ),
            checks=("allocator", "allocator-rights"),
        ),
        Step(
            id="addresses",
            do=(
                Command(
                    text=f"{_SERVICE} {facts.OPEN} {facts.LOCAL}",
                    shows=tuple(
                        rf"^{service} +LoadBalancer +\S+ +({range_}) "
                        for service in (facts.OPEN, facts.LOCAL)
                    ),
                    within=_LATER,
                ),
                _read("LB", facts.OPEN, ".status.loadBalancer.ingress[0].ip"),
            ),
            checks=("addresses",),
        ),
        Step(
            id="beyond-the-range",
            do=(
                Command(
                    text=f"{_SERVICE} {facts.THIRD} "
                    "-o jsonpath='{.status.conditions[0].message}'",
                    shows=("other Services have all of: ",),
                    within=_LATER,
                ),
            ),
            checks=("beyond-the-range",),
        ),
        Step(
            id="kernel",
            do=(
                Command(
                    text=f"./l4lab ssh {master.name} ip -brief address show kube-ipvs0",
                    shows=(rf"\b({range_})/32\b",),
                    within=_SOON,
                ),
                Command(
                    text=f"./l4lab ssh {master.name} ipvsadm -Ln -t $LB:{facts.PORT}",
                    shows=(rf"(-> \S+:{facts.TARGET_PORT} +Masq +1 .*\s+){{2}}",),
                    within=_SOON,
                ),
                Command(
                    text=f"./l4lab ssh {master.name} nft list map ip kube-proxy service-ips "
                    "| grep $LB",
                    shows=(rf"\b({range_}) \. tcp \. {facts.PORT} : goto \S+/{facts.OPEN}/",),
                    within=_SOON,
                    mode="nftables",
                ),
            ),
            checks=("on-kube-ipvs0", "ipvs-rows"),
        ),
        Step(
            id="outside",
            do=(
                Command(
                    text=f"./l4lab exec {_STATUS} {url}",
                    shows=("^200$",),
                    within=_SOON,
                    mode=_BOUND,
                ),
                # Since a time in mode ipvs this host may remember the card of a node.
                Command(text="./l4lab exec ip neigh flush to $LB", rc=None, mode="nftables"),
                Command(
                    text=f"./l4lab exec {_STATUS} {url}",
                    # 7: nobody answers ARP; 28: it was given up before that was known
                    rc=None,
                    shows=(r"^curl: \((7|28)\)",),
                    mode="nftables",
                ),
            ),
            checks=("outside-answers",),
        ),
        Step(
            id="arp",
            do=(
                Command(
                    text="./l4lab exec ip neigh show $LB",
                    shows=(r"lladdr [0-9a-f:]{17} ",),
                    mode=_BOUND,
                ),
            ),
            checks=("who-answers-arp", "neighbour"),
        ),
        Step(
            id="source",
            do=(
                Command(text=f'./l4lab exec curl -sS -o /dev/null "{url}?hello"', mode=_BOUND),
                Command(
                    text=f"./l4lab kubectl logs -l {_SELECTOR} --tail=20 | grep '?hello'",
                    shows=(rf"^(?!{str(gateway).replace('.', '[.]')} )\d+\.\S+ .*\?hello",),
                    within=_SOON,
                    mode=_BOUND,
                ),
            ),
            checks=("source-hidden",),
        ),
        Step(
            id="source-ranges",
            do=(
                *(
                    Command(
                        text=f"./l4lab ssh {machine.name} curl -sS --connect-timeout 3 {url}",
                        shows=("(?i)timed out|timeout",),
                        rc=28,
                        mode=_BOUND,
                    )
                    for machine in topology.databases
                ),
                Command(
                    text=f"./l4lab ssh {worker.name} ipset list {_SET} | grep $LB",
                    shows=(rf",tcp:{facts.PORT},{gateway}\b",),
                    mode=_BOUND,
                ),
            ),
            checks=("source-ranges", "refused-client"),
        ),
        Step(
            id="local",
            do=(
                _read("HEALTH", facts.LOCAL, ".spec.healthCheckNodePort"),
                Command(
                    text=f"./l4lab exec curl -sS http://{worker.address}:$HEALTH/healthz",
                    shows=(r'"localEndpoints": *[1-9]',),
                    within=_SOON,
                ),
                Command(
                    text=f"./l4lab exec curl -sS http://{master.address}:$HEALTH/healthz",
                    shows=(r'"localEndpoints": *0',),
                    within=_SOON,
                ),
            ),
            checks=("health-check", "local-by-node"),
        ),
        Step(
            id="give-back",
            do=(
                _patch(facts.LOCAL, {"type": "ClusterIP"}),
                _has(facts.THIRD, rf"^{facts.THIRD} +LoadBalancer +\S+ +({range_}) "),
                _patch(facts.THIRD, {"type": "ClusterIP"}),
                _patch(facts.LOCAL, dict(local)),
                _has(facts.LOCAL, rf"^{facts.LOCAL} +LoadBalancer +\S+ +({range_}) "),
                _patch(facts.THIRD, dict(ours)),
                _has(facts.THIRD, rf"^{facts.THIRD} +LoadBalancer +\S+ +<pending> "),
            ),
            checks=("give-back",),
        ),
    )
