"""What the checks of this lab look at, and how they ask from the client pod."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from l4lab.checks import (
    API,
    CannotMeasure,
    Hop,
    Hopeless,
    Look,
    Unmet,
    Vantage,
    Where,
    raise_if_stuck,
)
from l4lab.checks.network import Answer, curl_argv, read_curl
from l4lab.checks.service import node_of
from l4lab.command import Result
from labs.externalname import facts

CLIENT = Vantage(Where.POD, facts.CLIENT)


DNS_CAUSES = (
    "CoreDNS has no ready pod",
    "the name server outside does not answer CoreDNS",
    "the Service names something that does not exist",
)
DNS_NEXT = "./l4lab kubectl get pods -n kube-system -l k8s-app=kube-dns"

NO_REAL_SITE = f"{facts.EXTERNAL_NAME} is a site of the internet: this is known of a played one"


def full_name(look: Look) -> str:
    """The Service's full name."""
    return f"{facts.SERVICE}.{look.namespace}.svc.cluster.local"


def in_client(look: Look, argv: list[str], *, shown: list[str] | None = None) -> Result:
    """Run a command in the client pod; its standard error is without kubectl's own words.

    Raises:
        Hopeless: There is no such pod, or it will not start.
        CannotMeasure: It does not run yet, or kubectl could not get in.
    """
    pod = look.get("Pod", facts.CLIENT)
    raise_if_stuck([pod])
    phase = pod.get("status", {}).get("phase")
    if phase != "Running":
        raise CannotMeasure(f"pod {facts.CLIENT} is {phase}")
    result = look.at(CLIENT).run(argv, shown=shown)
    if not result.succeeded and result.stderr.startswith(("error:", "Error from server")):
        raise CannotMeasure(f"kubectl exec into {facts.CLIENT}: {result.last_line}")
    lines = result.stderr.splitlines(keepends=True)
    told = "".join(line for line in lines if not line.startswith("command terminated"))
    return replace(result, stderr=told)


def ask(look: Look, url: str, *options: str) -> Answer:
    """One request with curl from the client pod, which does not look at certificates.

    Raises:
        Hopeless: There is no such pod.
        CannotMeasure: curl did not run.
    """
    argv = [*curl_argv(url)[:-1], *options, url]
    return _answer(in_client(look, argv, shown=["curl", "-k", *options, url]))


def ask_trusting(look: Look, url: str, *options: str) -> Answer:
    """One request from the client pod that believes certificates of the site's authority only.

    The authority's certificate is fetched from the site and handed over in a pipe, so nothing is
    left in the pod.

    Raises:
        Hopeless: There is no such pod.
        CannotMeasure: curl did not run.
    """
    trusting = ["--no-insecure", "--cacert", "/dev/stdin", *options, url]
    fetch = f"curl -sS -m 12 {facts.AUTHORITY} | "
    argv = ["sh", "-c", fetch + '"$@"', "sh", *curl_argv(url)[:-1], *trusting]
    return _answer(in_client(look, argv, shown=["curl", "--cacert", "CA", *options, url]))


def _answer(result: Result) -> Answer:
    answers = read_curl(result)
    if len(answers) != 1:
        raise CannotMeasure(f"curl did not run in pod {facts.CLIENT}: {result.last_line}")
    return answers[0]


def site_address(look: Look) -> str | None:
    """The address of the host that plays the outside; None where the site is a real one.

    Raises:
        Hopeless: The site is played, and no machine plays it.
    """
    if not facts.PLAYED:
        return None
    machine = look.topology.outside
    if machine is None:
        raise Hopeless(
            "no machine of this cluster plays the outside",
            causes=("the settings have neither a machine of role outside nor one of role mariadb",),
            then="put one into l4lab.toml, or a name of the internet into labs/externalname",
        )
    return str(machine.address)


def must_be_the_site(look: Look, found: list[str]) -> None:
    """Hold addresses that a name has given against where the site is.

    Raises:
        Unmet: It is somewhere else, or nowhere.
    """
    wanted = site_address(look)
    networks = look.topology.networks
    ours = (networks.pods, networks.services)
    inside = [one for one in found if any(IPv4Address(one) in network for network in ours)]
    if not found or inside or (wanted and found != [wanted]):
        raise Unmet(
            ", ".join(found) or "no address",
            expected=f"the site's address: {wanted or 'one outside the cluster'}",
            causes=DNS_CAUSES,
            then=DNS_NEXT,
        )


def _service_names_it(look: Look) -> str | None:
    spec = look.at(API).get("Service", facts.SERVICE)["spec"]
    named = f"{spec['type']} {spec.get('externalName', '')}".strip()
    return None if named == f"ExternalName {facts.EXTERNAL_NAME}" else f"it is {named}"


def _outside_has_it(look: Look) -> str | None:
    node = node_of(look)
    if node is None:
        return None
    result = look.at(node).run(["getent", "ahostsv4", facts.EXTERNAL_NAME])
    return None if result.succeeded else f"{node} cannot resolve {facts.EXTERNAL_NAME} either"


def _cluster_dns_has_it(look: Look) -> str | None:
    node = node_of(look)
    if node is None:
        return None
    server = look.topology.networks.dns
    argv = ["dig", "+short", "+tries=2", "+time=2", f"@{server}", full_name(look), "A"]
    said = look.at(node).run(argv).stdout.splitlines()
    lines = [line for line in said if not line.startswith(";")]
    if f"{facts.EXTERNAL_NAME}." not in lines:
        return f"{server} does not tell {node} the alias: {' '.join(lines) or 'no answer'}"
    return None if lines[-1][-1].isdecimal() else f"the alias has no address: {' '.join(lines)}"


def _site_answers(look: Look) -> str | None:
    node = node_of(look)
    if node is None:
        return None
    answer = look.at(node).curl(f"https://{facts.EXTERNAL_NAME}/")[0]
    return None if answer.status else f"{facts.EXTERNAL_NAME} asked from {node}: {answer}"


WAY = (
    Hop(
        name="the Service",
        probe=_service_names_it,
        causes=("it was changed after it was deployed",),
        then="./l4lab deploy externalname",
    ),
    Hop(
        name="the name server outside",
        probe=_outside_has_it,
        causes=("it is stopped, or the nodes cannot reach it", "it does not know the name"),
        then=f"./l4lab kubectl exec {facts.CLIENT} -- dig {facts.EXTERNAL_NAME}",
    ),
    Hop(
        name="cluster DNS",
        probe=_cluster_dns_has_it,
        causes=("CoreDNS has no ready pod", "it was started before the nodes knew a name server"),
        then=DNS_NEXT,
    ),
    Hop(
        name="the site",
        probe=_site_answers,
        causes=("its web server is stopped", "a firewall on the way drops the packets"),
        then=f"./l4lab kubectl exec {facts.CLIENT} -- curl -vk https://{facts.EXTERNAL_NAME}/",
    ),
)
"""The hops of a request, walked when one has failed."""
