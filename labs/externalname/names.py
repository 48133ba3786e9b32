"""What the name becomes in a pod: an alias, an address, an answer to a ping."""

from __future__ import annotations

import re

from l4lab.checks import ONCE, Fault, Look, Seen, Unmet, check, eventually, side_by_side
from labs.externalname import facts
from labs.externalname.scene import (
    CLIENT,
    DNS_CAUSES,
    DNS_NEXT,
    WAY,
    full_name,
    in_client,
    must_be_the_site,
)


def chain(look: Look, name: str) -> list[tuple[str, str]]:
    """The records that lead from ``name`` to an address, as cluster DNS tells them to the pod.

    Returns:
        Pairs of kind (CNAME, A) and value, aliases without the last dot.
    """
    argv = ["dig", "+search", "+noall", "+answer", "+tries=2", "+time=2", name, "A"]
    return read_dig(in_client(look, argv).stdout)


def read_dig(text: str) -> list[tuple[str, str]]:
    """Kind and value of each record in dig's answer section, in order."""
    records = [line.split() for line in text.splitlines() if not line.startswith(";")]
    return [(words[3], words[4].rstrip(".")) for words in records if words[4:]]


@check(
    id="alias",
    title="in a pod the Service's name is an alias of the site's name",
    why="A CNAME record is all that this type of Service makes: cluster DNS answers with a name.",
    expect=f"the first record is a CNAME to {facts.EXTERNAL_NAME}",
    anchor="names",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    path=WAY,
)
def alias(look: Look) -> Seen:
    """Ask by the short form and by the full name."""
    look.get("Service", facts.SERVICE)

    def follow(look: Look, name: str) -> None:
        records = chain(look, name)
        if records[:1] != [("CNAME", facts.EXTERNAL_NAME)]:
            said = ", ".join(f"{kind} {value}" for kind, value in records)
            raise Unmet(
                f"{name}: {said or 'no record'}",
                fault=Fault.DNS,
                expected=f"first of all CNAME {facts.EXTERNAL_NAME}",
                causes=DNS_CAUSES,
                then=DNS_NEXT,
            )

    side_by_side(look, follow, (facts.SERVICE, full_name(look)))
    return Seen(f"{full_name(look)} is an alias of {facts.EXTERNAL_NAME}")


@check(
    id="address",
    title="cluster DNS follows the alias to the site's address",
    why="It asks the outside on the client's behalf, so one question gives alias and address.",
    expect="the last record is the site's address, which is none of the cluster's",
    anchor="names",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    path=WAY,
)
def address(look: Look) -> Seen:
    """Read the whole chain."""
    look.get("Service", facts.SERVICE)
    records = chain(look, facts.SERVICE)
    must_be_the_site(look, sorted(value for kind, value in records if kind == "A"))
    return Seen(" -> ".join((facts.SERVICE, *(value for _, value in records))))


_PINGED = re.compile(r"^PING \S+ \(([\d.]+)\)", re.MULTILINE)


@check(
    id="ping",
    title="a ping to the Service's name is answered by the site's host",
    why="Unlike a ping to a cluster address, which the own node refuses, this one really went out.",
    expect="an answer from the site's address",
    anchor="ping",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    path=WAY,
)
def ping(look: Look) -> Seen:
    """Send one packet, and a second if the first was lost."""
    look.get("Service", facts.SERVICE)
    result = in_client(look, ["ping", "-c", "2", "-W", "2", facts.SERVICE])
    found = _PINGED.findall(result.stdout)
    if not found:
        raise Unmet(
            result.last_line or "no answer", fault=Fault.DNS, causes=DNS_CAUSES, then=DNS_NEXT
        )
    must_be_the_site(look, found)
    if not result.succeeded:
        raise Unmet(
            f"{found[0]} does not answer",
            fault=Fault.TIMEOUT,
            causes=("the site's host is down", "a firewall drops echo requests"),
        )
    return Seen(f"{facts.SERVICE} is {found[0]}, and it answers")
