"""What the API says: ports with a protocol each, endpoints with the same, and two refusals."""

from __future__ import annotations

from l4lab.checks import API, ONCE, Look, Seen, Unmet, check, eventually
from l4lab.checks.diff import differences
from l4lab.checks.service import same_backends

from . import facts
from .scene import CLIENT, backends


@check(
    id="service-fields",
    title="one Service holds TCP and UDP on the same port number, another one SCTP",
    why="A Service's port is a number and a protocol; where nothing is said, it is TCP.",
    expect="the ports and protocols that the lab declares",
    anchor="one-number",
    vantage=API,
)
def service_fields(look: Look) -> Seen:
    """Compare the ports, the selectors and the policy."""
    said = []
    for service, ports in facts.SERVICE_PORTS.items():
        wanted: dict[str, object] = {
            "type": "ClusterIP",
            "internalTrafficPolicy": "Local" if service == facts.SCTP else "Cluster",
            "ports": [
                {
                    "name": name,
                    "protocol": protocol,
                    "port": facts.PORT,
                    "targetPort": facts.TARGET_PORT,
                }
                for name, protocol in ports.items()
            ],
        }
        if service != facts.NOBODY:
            wanted["selector"] = facts.LABELS
        if lines := differences(wanted, look.get("Service", service)["spec"]):
            raise Unmet(
                "\n".join([f"Service {service}:", *lines]),
                causes=("the Service was changed after it was deployed",),
                then=f"./l4lab kubectl get service {service} -o yaml",
            )
        said.append(f"{service} {'+'.join(ports.values())}")
    return Seen(f"port {facts.PORT}: {', '.join(said)}")


@check(
    id="endpoints",
    title="the EndpointSlices repeat the protocol of each port, and name the same pods",
    why="The protocol goes with the port all the way down: kube-proxy makes one row of each pair.",
    expect="both pods behind the mixed Service and the SCTP one, nobody behind the third",
    anchor="one-number",
    vantage=API,
)
def endpoints(look: Look) -> Seen:
    """Hold addresses and ports of the slices against pods and facts."""
    wanted = [pod.address for pod in backends(look)]
    for service, ports in facts.SERVICE_PORTS.items():
        look.get("Service", service)
        slices = look.find("EndpointSlice", {"kubernetes.io/service-name": service})
        if service == facts.NOBODY:
            if any(one.get("endpoints") for one in slices):
                raise Unmet(f"{service} has endpoints, and should have none")
            continue
        found = {
            (port["name"], port["protocol"], port["port"])
            for one in slices
            for port in one.get("ports") or []
        }
        expected = {(name, protocol, facts.TARGET_PORT) for name, protocol in ports.items()}
        if found != expected:
            raise Unmet(
                f"the slices of {service} have {sorted(found) or 'no port'}",
                expected=f"{sorted(expected)}",
                then=f"./l4lab kubectl describe service {service}",
            )
        addresses = {
            address
            for one in slices
            for endpoint in one.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready") is not False
            for address in endpoint["addresses"]
        }
        same_backends(f"the EndpointSlice of {service}", addresses, wanted)
    return Seen(f"{', '.join(sorted(wanted))}; nobody behind {facts.NOBODY}")


@check(
    id="same-port-twice",
    title="the API takes one number with two protocols, and refuses the same pair twice",
    why="Number and protocol together are the key: two rows of the kernel may not be the same.",
    expect="TCP and UDP accepted; UDP twice refused as a duplicate",
    anchor="one-number",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def same_port_twice(look: Look) -> Seen:
    """Offer both to the API server, which throws them away."""
    look.get("Service", facts.MIXED)

    def offered(*protocols: str) -> str:
        ports = [
            {"name": f"p{number}", "protocol": protocol, "port": facts.PORT}
            for number, protocol in enumerate(protocols)
        ]
        verdict = look.dry_run(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": f"{facts.MIXED}-offered"},
                "spec": {"selector": facts.LABELS, "ports": ports},
            }
        )
        return "" if verdict.accepted else verdict.message

    if refused := offered("TCP", "UDP"):
        raise Unmet(f"TCP and UDP on one number are refused: {refused}")
    refused = offered("UDP", "UDP")
    if "Duplicate value" not in refused:
        raise Unmet(f"UDP twice on one number: {refused or 'accepted'}")
    return Seen(refused)


@check(
    id="srv-names",
    title="DNS tells port and protocol apart, too: SRV records carry both in their names",
    why="An SRV record is asked for as _PORTNAME._PROTOCOL: a client can find the number by it.",
    expect=f"each named port of the mixed Service gives {facts.PORT}",
    anchor="names",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
)
def srv_names(look: Look) -> Seen:
    """Ask cluster DNS from a pod."""
    look.get("Pod", facts.CLIENT)
    said = []
    for name, protocol in facts.MIXED_PORTS.items():
        host = f"{facts.MIXED}.{facts.NAMESPACE}.svc.cluster.local."
        record = f"_{name}._{protocol.lower()}.{host}"
        result = look.run(["dig", "+short", "+tries=2", "+time=2", record, "SRV"])
        words = result.stdout.split()
        if words[2:] != [str(facts.PORT), host]:
            raise Unmet(
                f"{record}: {' '.join(words) or result.last_line or 'no answer'}",
                expected=f"port {facts.PORT} at {host}",
                causes=("CoreDNS has no ready pod", "the port has another name or protocol"),
                then=f"./l4lab kubectl get service {facts.MIXED} -o yaml",
            )
        said.append(f"{record} {facts.PORT}")
    return Seen(", ".join(said))
