"""What the API and the kernels hold of the Service: a name, and nothing else."""

from __future__ import annotations

import json

from l4lab.checks import API, HOST, NODES, ONCE, Look, Seen, Unmet, check, eventually, kernel
from l4lab.checks.conntrack import read_conntrack
from l4lab.checks.diff import differences
from l4lab.checks.network import curl_argv, read_curl
from l4lab.checks.service import node_of
from labs.externalname import facts
from labs.externalname.scene import CLIENT, WAY, ask, must_be_the_site, site_address

HTTPS = 443
HTTP_OK = 200


@check(
    id="outside-dns",
    title="the outside has a name server, and the nodes ask it",
    why="Cluster DNS knows the cluster's names only; all others it asks of its node's name server.",
    expect="the site's name gives its address on every node",
    anchor="outside",
    vantage=NODES,
)
def outside_dns(look: Look) -> Seen:
    """Ask the node's own resolver."""
    argv = ["env", "RES_OPTIONS=timeout:2 attempts:2", "getent", "ahostsv4", facts.EXTERNAL_NAME]
    result = look.run(argv, shown=argv[2:])
    found = sorted({line.split()[0] for line in result.stdout.splitlines() if line.strip()})
    server = f"@{site_address(look) or ''}".rstrip("@")
    if not found:
        raise Unmet(
            f"{look.vantage} does not find {facts.EXTERNAL_NAME}",
            causes=("the name server outside is stopped", "/etc/resolv.conf names another one"),
            then=f"./l4lab ssh {look.vantage.name} dig {server} {facts.EXTERNAL_NAME}",
        )
    must_be_the_site(look, found)
    return Seen(f"{facts.EXTERNAL_NAME} is {', '.join(found)}")


@check(
    id="outside-site",
    title="the site answers to its own name, whoever asks",
    why="First make sure that the site is well: then what fails behind a Service is the Service.",
    expect=f"HTTP {HTTP_OK} over HTTPS, asked from outside of the cluster",
    anchor="outside",
    vantage=HOST,
)
def outside_site(look: Look) -> Seen:
    """Ask without any DNS where the address is known."""
    url, address = f"https://{facts.EXTERNAL_NAME}/", site_address(look)
    way = ["--resolve", f"{facts.EXTERNAL_NAME}:{HTTPS}:{address}"] if address else []
    result = look.run([*curl_argv(url)[:-1], *way, url], shown=["curl", "-k", *way, url])
    answers = read_curl(result)
    if not answers or answers[0].fault:
        said = str(answers[0]) if answers else result.last_line
        raise Unmet(
            f"{said} from {url}",
            fault=answers[0].fault if answers else None,
            causes=("its web server is stopped", "a firewall on the way drops the packets"),
            then="./l4lab ssh MACHINE systemctl status l4lab-outside-web",
        )
    return Seen(f"{answers[0]} from {address or facts.EXTERNAL_NAME}")


@check(
    id="service-fields",
    title="the Service is of type ExternalName and names the site",
    why="The whole Service is one line: this name stands for that name.",
    expect=f"type ExternalName, externalName {facts.EXTERNAL_NAME}, no selector",
    anchor="service",
    vantage=API,
)
def service_fields(look: Look) -> Seen:
    """Compare the fields that the lab is about."""
    spec = look.get("Service", facts.SERVICE)["spec"]
    wanted = {"type": "ExternalName", "externalName": facts.EXTERNAL_NAME}
    lines = differences(wanted, spec)
    if spec.get("selector"):
        lines.append(f"selector: {spec['selector']}, where none is wanted")
    if lines:
        raise Unmet(
            "\n".join(lines),
            causes=("the Service was changed after it was deployed",),
            then=f"./l4lab kubectl get service {facts.SERVICE} -o yaml",
        )
    return Seen(f"ExternalName {facts.EXTERNAL_NAME}")


@check(
    id="no-address",
    title="it has no cluster address and no endpoints",
    why="There is nothing to balance: a client gets another name, and goes there by itself.",
    expect="no clusterIP, no EndpointSlice",
    anchor="service",
    vantage=API,
)
def no_address(look: Look) -> Seen:
    """Look for what every other type of Service has."""
    spec = look.get("Service", facts.SERVICE)["spec"]
    slices = look.find("EndpointSlice", {"kubernetes.io/service-name": facts.SERVICE})
    found = [f"clusterIP {spec['clusterIP']}"] if spec.get("clusterIP") else []
    found += [f"EndpointSlice {item['metadata']['name']}" for item in slices]
    if found:
        raise Unmet(
            ", ".join(found),
            causes=("the Service is of another type", "somebody made a slice with its name"),
            then=f"./l4lab kubectl get service,endpointslices -n {look.namespace}",
        )
    return Seen("no cluster address, no EndpointSlice")


@check(
    id="no-row",
    title="no kernel knows of it: no row leads to the site",
    why="kube-proxy has nothing to do for a name; no node stands between client and site.",
    expect="no row on the node with the site's address and web port",
    anchor="kernel",
    vantage=NODES,
)
def no_row(look: Look) -> Seen:
    """Search the whole table, virtual servers and backends."""
    spec = look.at(API).get("Service", facts.SERVICE)["spec"]
    address = spec.get("clusterIP") or site_address(look)
    rows = [
        f"{key[1]} -> {', '.join(backend.address for backend in row.backends) or 'nobody'}"
        for key, row in kernel.rows(look).items()
        for web in (f"{address}:{HTTPS}", f"{address}:80")
        if key[1] == web or any(backend.address == web for backend in row.backends)
    ]
    if rows:
        raise Unmet(
            "; ".join(rows),
            causes=("the Service has a cluster address, so it is of another type",),
            then=kernel.see(look),
        )
    return Seen(f"none of {len(kernel.rows(look))} rows leads to {address or 'it'}")


@check(
    id="no-translation",
    title="the client's packets go to the site's own address",
    why="A cluster address would be rewritten on the node; here the client itself knows where to.",
    expect="in the kernel's table of connections the site answers from where it was asked",
    anchor="kernel",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    path=WAY,
)
def no_translation(look: Look) -> Seen:
    """Make one connection by the Service's name, and find it on the pod's node."""
    look.get("Service", facts.SERVICE)
    answer = ask(look, f"https://{facts.SERVICE}/")
    if not answer.status:
        raise Unmet(f"{answer} from https://{facts.SERVICE}/", fault=answer.fault)
    node = node_of(look)
    if node is None:
        raise Unmet(f"pod {facts.CLIENT} is on no node")
    _, _, port = answer.source.partition(":")
    argv = ["conntrack", "-L", "-p", "tcp", "--sport", port, "--dport", str(HTTPS)]
    table = read_conntrack(look.at(node).run(argv).stdout)
    found = next((one for one in table if one.source == answer.source), None)
    if found is None:
        raise Unmet(
            f"the connection from {answer.source} is not in the table of {node}",
            then=f"./l4lab ssh {node.name} {' '.join(argv)}",
        )
    if found.destination != found.answered_by:
        raise Unmet(
            f"asked at {found.destination}, answered by {found.answered_by}",
            causes=("the name leads to a cluster address, which the node rewrites",),
            then=f"./l4lab kubectl get service {facts.SERVICE} -o yaml",
        )
    must_be_the_site(look, [found.destination.partition(":")[0]])
    return Seen(f"{found.destination}, left the node as {found.answered_to}")


# What is wrong with each value, in the words of the API.
WRONG_NAMES = {
    "": "Required value",
    f"https://{facts.EXTERNAL_NAME}/": "RFC 1123 subdomain",
    "WWW": "RFC 1123 subdomain",
}


@check(
    id="api-refuses",
    title="the API takes names only: no URL, no empty field, no cluster address",
    why="The field is copied into DNS as it is, so it must be a domain name and nothing more.",
    expect="an error for each wrong value, at its field",
    anchor="wrong-values",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def api_refuses(look: Look) -> Seen:
    """Let the API server judge objects that it then throws away."""
    trials = [({"externalName": name}, words) for name, words in WRONG_NAMES.items()]
    address = str(look.topology.networks.services.network_address + 53)
    with_address = {"externalName": facts.EXTERNAL_NAME, "clusterIP": address}
    trials.append((with_address, "may not be set for ExternalName"))
    for fields, words in trials:
        manifest = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"{facts.SERVICE}-wrong"},
            "spec": {"type": "ExternalName", **fields},
        }
        verdict = look.dry_run(manifest)
        if verdict.accepted or words not in verdict.message:
            raise Unmet(
                f"{json.dumps(fields)}: {verdict.message or 'accepted'}",
                expected=f"an error with the words {words!r}",
            )
    return Seen(f"{len(trials)} wrong values, each refused at its field")
