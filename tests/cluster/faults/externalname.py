"""Ways to break lab externalname: the name, DNS on either side, the site, the way to it."""

import json

from labs.externalname import facts
from tests.cluster.breaks import Break, dropped, ids, patched, without_dns

ZONE = facts.EXTERNAL_NAME.partition(".")[2]
BY_SERVICE = "foreign-name certificate host-header sni no-translation"
BY_NAME = f"alias address ping {BY_SERVICE}"
OUTSIDE = "outside-dns outside-site"
NO_OBJECT = "no-address no-row"


def named(name, wrong, **rest):
    return patched(
        name,
        "service",
        facts.SERVICE,
        "/spec/externalName",
        wrong=wrong,
        right=facts.EXTERNAL_NAME,
        explains="service-fields",
        green=ids(f"{OUTSIDE} {NO_OBJECT} own-name"),
        **rest,
    )


def stopped(name, unit, **rest):
    def systemctl(verb):
        return lambda hands: hands.on(hands.outside, "systemctl", verb, unit)

    return Break(name=name, apply=systemctl("stop"), undo=systemctl("start"), **rest)


def an_ordinary_service(hands):
    spec = {"type": "ClusterIP", "externalName": None, "ports": [{"port": 443}]}
    hands.kubectl("patch", "service", facts.SERVICE, "-p", json.dumps({"spec": spec}))


def a_name_again(hands):
    """As it was: the fields that only an address needs are gone with the type."""
    spec = {
        "type": "ExternalName",
        "externalName": facts.EXTERNAL_NAME,
        "ports": None,
        "clusterIP": None,
        "clusterIPs": None,
        "ipFamilies": None,
        "ipFamilyPolicy": None,
        "internalTrafficPolicy": None,
    }
    hands.kubectl(
        "patch", "service", facts.SERVICE, "--type=merge", "-p", json.dumps({"spec": spec})
    )


BREAKS = (
    named("a name that does not exist", f"nosuch.{ZONE}", red=ids(BY_NAME)),
    named("an address for a name", "192.0.2.80", red=ids(BY_NAME)),
    stopped(
        "the site is down",
        "l4lab-outside-web",
        explains="outside-site",
        red=ids(f"own-name {BY_SERVICE}"),
        green=ids(f"outside-dns service-fields {NO_OBJECT} alias address ping"),
    ),
    stopped(
        "the name server outside is down",
        "l4lab-outside-dns",
        explains="outside-dns",
        # Cluster DNS still knows the alias: that comes from the Service.
        red=ids(f"own-name address ping {BY_SERVICE}"),
        green=ids(f"outside-site service-fields alias {NO_OBJECT}"),
    ),
    without_dns(
        explains="alias",
        red=ids(f"address ping own-name {BY_SERVICE}"),
        green=ids(f"{OUTSIDE} service-fields {NO_OBJECT}"),
    ),
    Break(
        name="a Service of another type",
        explains="service-fields",
        apply=an_ordinary_service,
        undo=a_name_again,
        red=ids(f"no-address no-row {BY_NAME}"),
        green=ids(f"{OUTSIDE} own-name"),
    ),
    dropped(
        "a firewall before the site's port",
        where="outside",
        match=lambda hands: "tcp sport { 80, 443 }",
        explains="outside-site",
        red=ids(f"own-name {BY_SERVICE}"),
        green=ids("outside-dns service-fields alias address ping"),
    ),
)
