"""The steps of the lab that change something: clients follow the name, and only a name."""

from __future__ import annotations

import json

from l4lab.checks import Look, Seen, Stage, Unmet, exercise
from labs.externalname import facts
from labs.externalname.names import chain
from labs.externalname.scene import ask, site_address
from labs.externalname.site import FORBIDDEN, OK

# What every API server answers to anybody.
INSIDE_URL = f"https://{facts.SERVICE}/version"


def _records(look: Look) -> list[str]:
    return [f"{kind} {value}" for kind, value in chain(look, facts.SERVICE)]


def _name(stage: Stage, name: str) -> None:
    change = json.dumps({"spec": {"externalName": name}})
    stage.change("patch", "service", facts.SERVICE, "-p", change)


def _as_declared(stage: Stage) -> Seen:
    def back() -> Seen:
        records = _records(stage)
        if records[:1] != [f"CNAME {facts.EXTERNAL_NAME}"] or not records[-1].startswith("A "):
            raise Unmet(", ".join(records) or "no record")
        return Seen(", ".join(records))

    return stage.wait(f"{facts.SERVICE} an alias of {facts.EXTERNAL_NAME} again", back)


def _name_for_now(stage: Stage, name: str) -> None:
    _as_declared(stage)

    def back() -> None:
        _name(stage, facts.EXTERNAL_NAME)
        _as_declared(stage)

    stage.undo(f"externalName {facts.EXTERNAL_NAME}", back)
    _name(stage, name)


@exercise(
    id="move",
    title="another externalName moves the clients, and they notice nothing",
    why="Clients keep one name while what it stands for moves, even from outside into the cluster.",
    expect="the new alias, another address, and the API server's answer instead of the site's",
    anchor="move",
)
def move(stage: Stage) -> Seen:
    """Let the Service stand for the API server, ask it, and put back."""
    stage.get("Service", facts.SERVICE)

    def at_the_site() -> Seen:
        before = ask(stage, INSIDE_URL)
        if facts.PLAYED and before.status != FORBIDDEN:
            raise Unmet(f"{INSIDE_URL}: {before}", expected=f"HTTP {FORBIDDEN} before the change")
        return Seen(str(before))

    stage.wait("the site's answer", at_the_site)
    _name_for_now(stage, facts.INSIDE_NAME)

    def moved() -> Seen:
        records = _records(stage)
        api = str(stage.topology.networks.services.network_address + 1)
        if records != [f"CNAME {facts.INSIDE_NAME}", f"A {api}"]:
            raise Unmet(", ".join(records) or "no record")
        answer = ask(stage, INSIDE_URL)
        if answer.status != OK:
            raise Unmet(f"{INSIDE_URL}: {answer}", expected=f"HTTP {OK} from the API server")
        return Seen(f"{facts.SERVICE} was {facts.EXTERNAL_NAME}, then {facts.INSIDE_NAME} ({api})")

    return stage.wait("the new alias and the API server's answer", moved)


@exercise(
    id="address-is-no-name",
    title="an address in externalName is taken, and nobody finds the Service any more",
    why="Digits and dots are a valid domain name to the API; a CNAME to an address cannot be, so "
    "DNS has no answer. For an address there are Services with Endpoints of their own.",
    expect="no record and no connection",
    anchor="address-is-no-name",
)
def address_is_no_name(stage: Stage) -> Seen:
    """Put an address where a name belongs, look, and put back."""
    stage.get("Service", facts.SERVICE)
    address = site_address(stage) or str(stage.topology.networks.gateway)
    _name_for_now(stage, address)

    def gone() -> Seen:
        if records := _records(stage):
            raise Unmet(", ".join(records), expected="no record at all")
        answer = ask(stage, f"http://{facts.SERVICE}/")
        if answer.status:
            raise Unmet(f"http://{facts.SERVICE}/: {answer}", expected="no such host")
        return Seen(f"externalName {address}: no record, {answer.fault}")

    return stage.wait("no record", gone)
