"""The steps of the guide: what a learner types, and which checks prove what the step says."""

from __future__ import annotations

import json
import re
from typing import Any

from l4lab.guide import Command, Step
from l4lab.topology import Topology

from . import facts

_LABEL = ",".join(f"{key}={value}" for key, value in facts.LABELS.items())
_IN_CLIENT = f"./l4lab kubectl exec {facts.CLIENT} --"
_WELCOME = "<title>Welcome to nginx!</title>"
_ADDRESS = r"\d+(\.\d+){3}"
# A cluster needs a moment until every kernel has followed.
_SOON = 20.0

# The least that a Service of each kind needs: what is typed should show what is wrong in it.
_PORTS = [{"port": facts.PORT}]
_LEAST: dict[str, dict[str, Any]] = {
    facts.AUTO: {"ports": _PORTS},
    facts.NODE: {"type": "NodePort", "ports": _PORTS},
    facts.STICKY: {"ports": _PORTS},
    facts.SHORT: {"sessionAffinity": "ClientIP", "ports": _PORTS},
    facts.HEADLESS: {"clusterIP": "None", "selector": facts.LABELS, "ports": _PORTS},
}


def _tried(spec: dict[str, Any], option: str = " --dry-run=server") -> str:
    """The command that offers such a Service to the API server."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": facts.TRIED},
        "spec": {field: value for field, value in spec.items() if value is not None},
    }
    text = json.dumps(manifest, separators=(",", ":"))
    return f"echo '{text}' | ./l4lab kubectl create{option} -f -"


def _wrong(part: str) -> tuple[Command, ...]:
    """The wrong values of one field, each with what the API server says to it."""
    return tuple(
        Command(
            text=_tried(_LEAST[case["of"]] | case["with"]),
            rc=1,
            shows=(re.escape(case["says"]),),
        )
        for case in facts.WRONG[part]
    )


def _address(variable: str, service: str) -> Command:
    return Command(
        text=f"{variable}=$(./l4lab kubectl get service {service} "
        "-o jsonpath='{.spec.clusterIP}')"
    )


def _fields(service: str, *shown: str) -> Command:
    return Command(text=f"./l4lab kubectl get service {service} -o yaml", shows=shown)


def steps(topology: Topology) -> tuple[Step, ...]:
    """The steps of the lab on that cluster, in their order."""
    services = topology.networks.services
    chosen = services.network_address + facts.CHOSEN_OFFSET
    master, worker = topology.control_plane, topology.workers[0].name
    on_worker = f"./l4lab ssh {worker}"
    domain = f"{facts.NAMESPACE}.svc.cluster.local"
    low, high = facts.NODE_PORTS
    gone = Command(text=f"./l4lab kubectl delete service {facts.TRIED}", shows=("deleted",))
    shown = f"./l4lab kubectl describe service {facts.TRIED} | grep Endpoints"
    too_low = {
        "type": "NodePort",
        "ports": [{"port": facts.PORT, "nodePort": facts.BELOW_NODE_PORTS}],
    }
    unknown_name = [{"port": facts.PORT, "targetPort": facts.CONTAINER_PORT_NAME + "s"}]
    return (
        Step(
            id="one-field-at-a-time",
            do=(
                Command(
                    text=f"./l4lab kubectl get services -l {_LABEL}",
                    shows=tuple(rf"^{name} " for name in facts.SERVICES),
                ),
                Command(
                    text=f"./l4lab kubectl get pods -l {_LABEL} -o wide",
                    shows=(rf"^{facts.DEPLOYMENT}-\S+ +1/1 +Running ",),
                ),
            ),
            checks=("as-declared",),
        ),
        Step(
            id="cluster-ip",
            do=(
                Command(
                    text=f"./l4lab kubectl get service {facts.AUTO} {facts.CHOSEN} "
                    f"{facts.HEADLESS}",
                    shows=(
                        rf"^{facts.AUTO} +ClusterIP +{_ADDRESS} ",
                        rf"^{facts.CHOSEN} +ClusterIP +{re.escape(str(chosen))} ",
                        rf"^{facts.HEADLESS} +ClusterIP +None ",
                    ),
                ),
                Command(
                    text=f"{on_worker} curl -s http://{chosen}:{facts.CHOSEN_PORT}/",
                    shows=(_WELCOME,),
                ),
                Command(
                    text=f"{_IN_CLIENT} dig +short {facts.AUTO}.{domain}",
                    shows=(rf"\A{_ADDRESS}\s*\Z",),
                ),
                Command(
                    text=f"{_IN_CLIENT} dig +short {facts.HEADLESS}.{domain}",
                    shows=(rf"\A({_ADDRESS}\s+){{{facts.REPLICAS}}}\Z",),
                ),
                *_wrong("cluster-ip"),
                Command(
                    text=_tried(_LEAST[facts.AUTO] | {"clusterIP": str(chosen)}),
                    shows=(r"created \(server dry run\)",),
                ),
                Command(
                    text=_tried(_LEAST[facts.AUTO] | {"clusterIP": str(chosen)}, ""),
                    rc=1,
                    shows=("provided IP is already allocated",),
                ),
            ),
            checks=(
                "cluster-ip-automatic",
                "cluster-ip-chosen",
                "cluster-ip-none",
                "wrong-cluster-ip",
                "taken-cluster-ip",
            ),
        ),
        Step(
            id="port",
            do=(
                _fields(
                    facts.CHOSEN,
                    rf"port: {facts.CHOSEN_PORT}$",
                    rf"targetPort: {facts.CONTAINER_PORT_NAME}$",
                ),
                Command(
                    text=f"./l4lab kubectl describe service {facts.CHOSEN} | grep Endpoints",
                    shows=(rf"^Endpoints: +\S+:{facts.CONTAINER_PORT}\b",),
                ),
                Command(
                    text=f"{on_worker} ipvsadm -Ln -t {chosen}:{facts.CHOSEN_PORT}",
                    shows=(rf"-> \S+:{facts.CONTAINER_PORT} +Masq",),
                ),
                Command(
                    text=f"{on_worker} curl -sS http://{chosen}/", rc=7, shows=(r"^curl: \(7\)",)
                ),
                *_wrong("port"),
                *_wrong("target-port"),
                Command(text=_tried({"selector": facts.LABELS, "ports": unknown_name}, "")),
                # The pods were found, the port in them was not.
                Command(text=shown, shows=(rf"^Endpoints: +{_ADDRESS}(,|$)",), within=_SOON),
                gone,
            ),
            checks=(
                "port",
                "target-port-name",
                "wrong-port",
                "wrong-target-port",
                "unknown-target-port",
            ),
        ),
        Step(
            id="name",
            do=(
                Command(
                    text=f"{_IN_CLIENT} dig +short SRV "
                    f"_{facts.PORT_NAME}._tcp.{facts.PORTS}.{domain}",
                    shows=(rf" {facts.PORT} {facts.PORTS}\.",),
                ),
                Command(
                    text=f"{_IN_CLIENT} dig +short SRV "
                    f"_{facts.PLAIN_NAME}._tcp.{facts.PORTS}.{domain}",
                    shows=(rf" {facts.SHARED_PORT} {facts.PORTS}\.",),
                ),
                *_wrong("name"),
            ),
            checks=("port-name", "wrong-name"),
        ),
        Step(
            id="protocol",
            do=(
                _address("CIP", facts.PORTS),
                Command(
                    text=f"{on_worker} ipvsadm -Ln | grep $CIP:{facts.SHARED_PORT}",
                    shows=tuple(rf"^{one} +\S+ " for one in ("TCP", "UDP", "SCTP")),
                    within=_SOON,
                ),
                *_wrong("protocol"),
            ),
            checks=("protocol", "wrong-protocol"),
        ),
        Step(
            id="app-protocol",
            do=(
                Command(
                    text="./l4lab kubectl get endpointslices "
                    f"-l kubernetes.io/service-name={facts.PORTS} -o yaml | grep -A 3 appProto",
                    shows=(rf"appProtocol: {facts.APP_PROTOCOL}$",),
                ),
                Command(text=f"{on_worker} ipvsadm -Ln -t $CIP:{facts.PORT}", shows=(r" rr *$",)),
                Command(
                    text=f"{on_worker} ipvsadm -Ln -t $CIP:{facts.SHARED_PORT}", shows=(r" rr *$",)
                ),
                *_wrong("app-protocol"),
            ),
            checks=("app-protocol", "wrong-app-protocol"),
        ),
        Step(
            id="selector",
            do=(
                Command(
                    text=f"./l4lab kubectl get endpointslices -l {_LABEL}",
                    shows=tuple(rf"^{name}-\S+ " for name in facts.SERVICES),
                ),
                *_wrong("selector"),
                Command(text=_tried({"selector": {"run": "field"}, "ports": _PORTS}, "")),
                Command(text=shown, shows=(r"^Endpoints: *$",), within=_SOON),
                gone,
            ),
            checks=("selector", "wrong-selector", "unknown-selector"),
        ),
        Step(
            id="type",
            do=(
                Command(
                    text=f"./l4lab kubectl get service {facts.AUTO} {facts.NODE} {facts.BALANCER}",
                    shows=(
                        rf"^{facts.NODE} +NodePort .*:{facts.NODE_PORT}/TCP",
                        rf"^{facts.BALANCER} +LoadBalancer +\S+ +<pending> ",
                    ),
                ),
                Command(
                    text=f"./l4lab exec curl -s http://{master.address}:{facts.NODE_PORT}/",
                    shows=(_WELCOME,),
                ),
                Command(
                    text=f"PORT=$(./l4lab kubectl get service {facts.BALANCER} "
                    "-o jsonpath='{.spec.ports[0].nodePort}')"
                ),
                Command(
                    text=f"./l4lab exec curl -s http://{master.address}:$PORT/", shows=(_WELCOME,)
                ),
                *_wrong("type"),
                *_wrong("node-port"),
                Command(text=_tried(too_low), shows=(r"created \(server dry run\)",)),
                Command(
                    text=_tried(too_low, ""),
                    rc=1,
                    shows=(rf"The range of valid ports is {low}-{high}",),
                ),
            ),
            checks=(
                "type-cluster-ip",
                "type-node-port",
                "type-load-balancer",
                "wrong-type",
                "wrong-node-port",
                "node-port-out-of-range",
            ),
        ),
        Step(
            id="session-affinity",
            do=(
                *(
                    command
                    for name, flags in (
                        (facts.AUTO, r"rr *$"),
                        (facts.STICKY, rf"rr persistent {facts.DEFAULT_SECONDS}$"),
                        (facts.SHORT, rf"rr persistent {facts.SHORT_SECONDS}$"),
                    )
                    for command in (
                        _address("CIP", name),
                        Command(
                            text=f"{on_worker} ipvsadm -Ln -t $CIP:{facts.PORT}",
                            shows=(rf"^TCP +\S+ {flags}",),
                            within=_SOON,
                        ),
                    )
                ),
                _address("CIP", facts.STICKY),
                Command(
                    text=f"{on_worker} curl -sD - -o /dev/null 'http://'$CIP'/?[1-4]' "
                    "| grep -i served",
                    shows=(r"(?i)\A(?:x-served-by: (\S+)\s+)(?:x-served-by: \1\s*){3}\Z",),
                ),
                *_wrong("affinity"),
            ),
            checks=("affinity-none", "affinity-client-ip", "affinity-timeout", "wrong-affinity"),
        ),
        Step(
            id="course-example",
            do=(
                *_wrong("course-example"),
                Command(
                    text=_tried(_LEAST[facts.HEADLESS] | {"sessionAffinity": "ClientIP"}),
                    shows=(
                        rf"^Warning: {re.escape(facts.NO_PROXY_WARNING)}",
                        r"created \(server dry run\)",
                    ),
                ),
            ),
            checks=("course-example", "affinity-without-proxy"),
        ),
    )
