"""The steps of the guide: what a learner types, and which checks prove what the step says."""

from __future__ import annotations

from l4lab.guide import Command, Step
from l4lab.topology import Machine, Topology

from . import facts

_LABEL = ",".join(f"{key}={value}" for key, value in facts.LABELS.items())
_KEPT = f"deployment {facts.DEPLOYMENT}"
_NAME = r"^X-Served-By: \S+"
_FLAGGED = rf"rr persistent {facts.TIMEOUT_SECONDS}"
# A cluster needs a moment until every kernel has followed.
_SOON = 60.0
# Resets its connection instead of closing it, so that the kernel soon forgets it.
_RESET = "linger=0,shut-none,end-close"


def _cluster_address(variable: str, service: str) -> Command:
    read = f"./l4lab kubectl get service {service} -o jsonpath='{{.spec.clusterIP}}'"
    return Command(text=f"{variable}=$({read})")


def _row(node: Machine, address: str, shown: str) -> Command:
    return Command(
        text=f"./l4lab ssh {node.name} ipvsadm -Ln -t {address}",
        shows=(rf"^TCP +\S+ +{shown} *$",),
        within=_SOON,
    )


def _affinity(spec: str) -> Command:
    return Command(
        text=f"./l4lab kubectl patch service {facts.SERVICE} -p '{{\"spec\":{spec}}}'",
        shows=("patched",),
    )


def steps(topology: Topology) -> tuple[Step, ...]:
    """The steps of the lab on that cluster, in their order."""
    node, other = topology.workers[0], topology.control_plane
    port = f"{node.address}:{facts.NODE_PORT}"
    client = topology.networks.gateway
    # Prints which pod has answered; the file is asked for so often that one line each is enough.
    ask = "curl -sS --connect-timeout 3 -o /dev/null -D - -H Connection:close"
    own = Command(
        text=f'./l4lab exec {ask} "http://{port}/?[1-4]" | grep X-Served-By',
        shows=(rf"({_NAME}\s+){{4}}",),
    )
    table = f"./l4lab ssh {node.name} ipvsadm -Lnc | grep"
    return (
        Step(
            id="services",
            do=(
                Command(
                    text=f"./l4lab kubectl get pods -l {_LABEL} -o wide",
                    shows=(rf"^{facts.DEPLOYMENT}-\S+ +1/1 +Running ",),
                ),
                *(
                    Command(
                        text=f"./l4lab kubectl get service {service} -o yaml "
                        "| grep -i affinity -A2",
                        shows=shown,
                    )
                    for service, shown in (
                        (
                            facts.SERVICE,
                            ("ClientIP", rf"timeoutSeconds: {facts.TIMEOUT_SECONDS}$"),
                        ),
                        (
                            facts.DEFAULT_SERVICE,
                            ("ClientIP", rf"timeoutSeconds: {facts.DEFAULT_TIMEOUT_SECONDS}$"),
                        ),
                        (facts.PLAIN_SERVICE, (r"sessionAffinity: None$",)),
                    )
                ),
            ),
            checks=("pods", "affinity-fields", "default-timeout", "no-affinity"),
        ),
        Step(
            id="kernel",
            do=(
                _cluster_address("CIP", facts.SERVICE),
                _cluster_address("DEFAULT", facts.DEFAULT_SERVICE),
                _cluster_address("PLAIN", facts.PLAIN_SERVICE),
                _row(node, f"$CIP:{facts.PORT}", _FLAGGED),
                _row(
                    node,
                    f"$DEFAULT:{facts.PORT}",
                    rf"rr persistent {facts.DEFAULT_TIMEOUT_SECONDS}",
                ),
                _row(node, f"$PLAIN:{facts.PORT}", "rr"),
            ),
            checks=("persistent-flag",),
        ),
        Step(
            id="spread",
            do=(
                Command(
                    text=f'./l4lab ssh {node.name} {ask} "http://$PLAIN:{facts.PORT}/?[1-4]" '
                    "| grep X-Served-By",
                    shows=(rf"({_NAME}\s+){{4}}", r"X-Served-By: (\S+)[\s\S]+X-Served-By: (?!\1)"),
                    # In mode nftables four draws fall on one pod once in eight times.
                    within=_SOON,
                ),
            ),
            checks=("none-spreads",),
        ),
        Step(
            id="one-pod",
            do=(
                Command(
                    text=own.text,
                    shows=(r"\AX-Served-By: (\S+)\s+(X-Served-By: \1\s+){3}\Z",),
                ),
            ),
            checks=("one-pod",),
        ),
        Step(
            id="memory",
            do=(
                *(
                    Command(
                        text=f"./l4lab ssh {one.name} {ask} http://{port}/ | grep X-Served-By",
                        shows=(_NAME,),
                    )
                    for one in topology.databases
                ),
                Command(
                    text=f"{table} ':0 '",
                    shows=(
                        rf"^TCP +\S+ +\S+ +{client}:0 +{port} ",
                        *(
                            rf"^TCP +\S+ +\S+ +{one.address}:0 +{port} "
                            for one in topology.databases
                        ),
                    ),
                ),
                Command(
                    text=f"./l4lab exec {ask} http://{other.address}:{facts.NODE_PORT}/"
                    " | grep X-Served-By",
                    shows=(_NAME,),
                ),
                Command(
                    text=f"./l4lab ssh {other.name} ipvsadm -Lnc | grep ':0 '",
                    shows=(rf"{client}:0 +{other.address}:{facts.NODE_PORT} ",),
                ),
            ),
            checks=("each-node-remembers", "each-client-apart"),
        ),
        Step(
            id="forgotten",
            do=(
                Command(
                    text=f"./l4lab ssh {node.name} socat -u OPEN:/dev/null "
                    f"TCP4:$CIP:{facts.PORT},{_RESET}"
                ),
                Command(text=f"{table} $CIP", shows=(r"^TCP +00:\d\d +\S+ +\S+:0 ",)),
                Command(text=f"sleep {facts.TIMEOUT_SECONDS}"),
                # Nothing is there any more, so grep finds nothing.
                Command(text=f"{table} $CIP", rc=1, shows=(r"\A\s*\Z",), within=_SOON),
            ),
            checks=("forgotten",),
        ),
        Step(
            id="switch-off",
            do=(
                _affinity('{"sessionAffinity":"None","sessionAffinityConfig":null}'),
                _row(node, port, "rr"),
                Command(
                    text=own.text,
                    shows=(r"X-Served-By: (\S+)[\s\S]+X-Served-By: (?!\1)",),
                    within=_SOON,
                ),
                _affinity(
                    '{"sessionAffinity":"ClientIP","sessionAffinityConfig":'
                    f'{{"clientIP":{{"timeoutSeconds":{facts.TIMEOUT_SECONDS}}}}}}}'
                ),
                _row(node, port, _FLAGGED),
            ),
            checks=("switch-off",),
        ),
        Step(
            id="lose-the-pod",
            do=(
                Command(
                    text=f"POD=$(./l4lab exec {ask} http://{port}/ | grep X-Served-By "
                    "| tr -d '\\r' | cut -d' ' -f2)"
                ),
                Command(text="./l4lab kubectl delete pod $POD", shows=(r"^pod .* deleted",)),
                Command(text=f"./l4lab kubectl rollout status {_KEPT} --timeout=60s"),
                Command(
                    text=f"./l4lab exec {ask} http://{port}/ | grep X-Served-By; echo was $POD",
                    shows=(r"X-Served-By: (\S+)\s+was (?!\1)\S",),
                    within=_SOON,
                ),
            ),
            checks=("lose-the-pod",),
        ),
    )
