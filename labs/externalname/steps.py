"""The steps of the guide: what a learner types, and which checks prove what the step says."""

from __future__ import annotations

import json
import re

from l4lab.guide import Command, Step
from l4lab.topology import Topology
from labs.externalname import facts

_IN_POD = f"./l4lab kubectl exec {facts.CLIENT} --"
_SERVICE = f"./l4lab kubectl get service {facts.SERVICE}"
_FULL = f"{facts.SERVICE}.{facts.NAMESPACE}.svc.cluster.local"
_BY_SERVICE = f"https://{facts.SERVICE}/"
_BY_OWN_NAME = f"https://{facts.EXTERNAL_NAME}/"
_CA = "/ca.crt"
_TRUSTING = f"{_IN_POD} curl -sS --cacert {_CA}"
_CODE = "-o /dev/null -w %{http_code}"
_ADDRESS = r"\d+(?:\.\d+){3}"
# CoreDNS hears of a change at once, but not in the same moment.
_SOON = 15.0


def _patch(name: str) -> str:
    change = json.dumps({"spec": {"externalName": name}}, separators=(",", ":"))
    return f"./l4lab kubectl patch service {facts.SERVICE} -p '{change}'"


def _named(name: str) -> Command:
    return Command(text=_patch(name), shows=("patched",))


def _refused(name: str, words: str) -> Command:
    return Command(text=f"{_patch(name)} --dry-run=server", rc=1, shows=(words,))


def _chain(*, within: float = 0.0, shows: tuple[str, ...]) -> Command:
    return Command(
        text=f"{_IN_POD} dig +search +noall +answer {facts.SERVICE}", shows=shows, within=within
    )


def _openssl(name: str, subject: str, verdict: str) -> Command:
    return Command(
        text=f"{_IN_POD} sh -c 'openssl s_client -connect {facts.SERVICE}:443 "
        f"-servername {name} -verify_hostname {name} -CAfile {_CA} </dev/null 2>&1' "
        '| grep -E "^subject|Verify return"',
        shows=(rf"^subject=.*{subject}", rf"Verify return code: {verdict}"),
    )


def steps(topology: Topology) -> tuple[Step, ...]:
    """The steps of the lab on that cluster, in their order."""
    worker = topology.workers[0].name
    site = re.escape(facts.EXTERNAL_NAME)
    own = (rf"{_FULL}\.\s.*CNAME\s+{site}\.$", rf"\sA\s+{_ADDRESS}$")
    inside = rf"CNAME\s+{re.escape(facts.INSIDE_NAME)}\.$"
    return (
        Step(
            id="outside",
            do=(
                Command(text=f"./l4lab ssh {worker} cat /etc/resolv.conf", shows=("^nameserver",)),
                Command(
                    text=f"./l4lab ssh {worker} getent hosts {facts.EXTERNAL_NAME}",
                    shows=(rf"^{_ADDRESS}\s",),
                ),
                Command(
                    text=f"./l4lab ssh {worker} curl -sk {_CODE} {_BY_OWN_NAME}", shows=("^200$",)
                ),
            ),
            checks=("outside-dns", "outside-site"),
        ),
        Step(
            id="service",
            do=(
                Command(
                    text=_SERVICE,
                    shows=(rf"^{facts.SERVICE}\s+ExternalName\s+<none>\s+{site}\s+<none>",),
                ),
                Command(
                    text="./l4lab kubectl get endpointslices "
                    f"-l kubernetes.io/service-name={facts.SERVICE}",
                    shows=("^No resources found",),
                ),
            ),
            checks=("service-fields", "no-address"),
        ),
        Step(
            id="names",
            do=(
                Command(
                    text=f"{_IN_POD} nslookup {facts.SERVICE}",
                    shows=(rf"^{_FULL}\s+canonical name = {site}\.$", rf"^Address: {_ADDRESS}$"),
                ),
                _chain(shows=own),
            ),
            checks=("alias", "address"),
        ),
        Step(
            id="ping",
            do=(
                Command(
                    text=f"{_IN_POD} ping -c 2 {facts.SERVICE}",
                    shows=(rf"^PING {facts.SERVICE} \({_ADDRESS}\)", r"\b[12] packets received"),
                ),
            ),
            checks=("ping",),
        ),
        Step(
            id="foreign-name",
            do=(
                Command(text=f"{_IN_POD} curl -sk {_CODE} {_BY_SERVICE}", shows=("^403$",)),
                Command(
                    text=f"{_IN_POD} timeout 5 wget --no-check-certificate -O- {_BY_SERVICE}",
                    rc=1,
                    shows=(rf"^Connecting to {facts.SERVICE} \({_ADDRESS}:443\)", "403 Forbidden"),
                ),
            ),
            checks=("foreign-name",),
        ),
        Step(
            id="own-name",
            do=(
                Command(text=f"{_IN_POD} curl -sS {facts.AUTHORITY} -o {_CA}"),
                Command(text=f"{_TRUSTING} {_CODE} {_BY_OWN_NAME}", shows=("^200$",)),
            ),
            checks=("own-name",),
        ),
        Step(
            id="certificate",
            do=(
                Command(
                    text=f"{_TRUSTING} {_BY_SERVICE}",
                    rc=60,
                    shows=(rf"^curl: \(60\) .*'{facts.SERVICE}'",),
                ),
            ),
            checks=("certificate",),
        ),
        Step(
            id="host-and-sni",
            do=(
                Command(
                    text=f"{_IN_POD} curl -sk {_CODE} -H 'Host: {facts.EXTERNAL_NAME}' "
                    f"{_BY_SERVICE}",
                    shows=("^200$",),
                ),
                Command(
                    text=f"{_TRUSTING} {_CODE} -H 'Host: {facts.SERVICE}' {_BY_OWN_NAME}",
                    shows=("^403$",),
                ),
                _openssl(facts.SERVICE, "unknown", r"62 "),
                _openssl(facts.EXTERNAL_NAME, site, r"0 \(ok\)"),
                Command(
                    text=f"{_TRUSTING} {_CODE} "
                    f"--connect-to {facts.EXTERNAL_NAME}:443:{facts.SERVICE}:443 {_BY_OWN_NAME}",
                    shows=("^200$",),
                ),
            ),
            checks=("host-header", "sni"),
        ),
        Step(
            id="kernel",
            do=(
                Command(text=f"ADDRESS=$({_IN_POD} dig +short +search {facts.SERVICE} | tail -1)"),
                Command(
                    text=f"NODE=$(./l4lab kubectl get pod {facts.CLIENT} "
                    "-o jsonpath='{.spec.nodeName}')"
                ),
                Command(
                    text='./l4lab ssh $NODE ipvsadm -Ln | grep "$ADDRESS:443"',
                    rc=1,
                    shows=(r"\A\s*\Z",),
                ),
                Command(text=f"{_IN_POD} curl -sk -o /dev/null {_BY_SERVICE}"),
                Command(
                    text="./l4lab ssh $NODE conntrack -L -p tcp -d $ADDRESS --dport 443 "
                    "| tail -n 1",
                    shows=(
                        rf"src={_ADDRESS} dst=({_ADDRESS}) sport=\d+ dport=443 "
                        rf"src=\1 dst={_ADDRESS} sport=443",
                    ),
                ),
            ),
            checks=("no-row", "no-translation"),
        ),
        Step(
            id="wrong-values",
            do=(
                _refused("", r"spec\.externalName: Required value"),
                _refused(_BY_OWN_NAME, "RFC 1123 subdomain"),
                _refused("WWW", "RFC 1123 subdomain"),
            ),
            checks=("api-refuses",),
        ),
        Step(
            id="move",
            do=(
                _named(facts.INSIDE_NAME),
                _chain(within=_SOON, shows=(inside,)),
                Command(
                    text=f"{_IN_POD} curl -sk {_BY_SERVICE}version",
                    shows=('"gitVersion"',),
                    within=_SOON,
                ),
                _named(facts.EXTERNAL_NAME),
                _chain(within=_SOON, shows=own),
            ),
            checks=("move",),
        ),
        Step(
            id="address-is-no-name",
            do=(
                _named(str(topology.outside.address if topology.outside else "192.0.2.1")),
                Command(
                    text=f"{_IN_POD} nslookup {_FULL}",
                    rc=1,
                    shows=("NXDOMAIN",),
                    within=_SOON,
                ),
                _named(facts.EXTERNAL_NAME),
                _chain(within=_SOON, shows=own),
            ),
            checks=("address-is-no-name",),
        ),
    )
