"""What the site makes of a visitor who came by another name."""

from __future__ import annotations

import re

from l4lab.checks import (
    ONCE,
    Fault,
    Look,
    NotHere,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
)
from l4lab.checks.network import Answer
from labs.externalname import facts
from labs.externalname.scene import CLIENT, NO_REAL_SITE, WAY, ask, ask_trusting, in_client

FORBIDDEN = 403
OK = 200
BY_SERVICE = f"https://{facts.SERVICE}/"
BY_OWN_NAME = f"https://{facts.EXTERNAL_NAME}/"


def _status(answer: Answer, wanted: int, what: str, *causes: str) -> None:
    if answer.status != wanted:
        raise Unmet(
            f"{what}: {answer}",
            fault=answer.fault if not answer.status else Fault.HTTP,
            expected=f"HTTP {wanted}",
            causes=causes,
        )


@check(
    id="foreign-name",
    title="asked by the Service's name, the site answers 403",
    why="A browser sends the name it was given; the site has never heard of a host of that name.",
    expect=f"HTTP {FORBIDDEN}, over HTTPS and over HTTP",
    anchor="foreign-name",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def foreign_name(look: Look) -> Seen:
    """Ask as a client that does not look at certificates."""
    look.get("Service", facts.SERVICE)
    schemes = ("https", "http") if facts.PLAYED else ("https",)
    for scheme in schemes:
        url = f"{scheme}://{facts.SERVICE}/"
        _status(
            ask(look, url), FORBIDDEN, url, "the site serves every host name", "it is another site"
        )
    return Seen(f"HTTP {FORBIDDEN} from {facts.SERVICE}, over {' and '.join(schemes)}")


@check(
    id="own-name",
    title="asked by its own name, the same site answers 200",
    why="It is the name and not the way: pods can reach the site directly just as well.",
    expect=f"HTTP {OK}, and a certificate that holds",
    anchor="own-name",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def own_name(look: Look) -> Seen:
    """Ask as a client that does look at certificates, where the authority is known."""
    look.get("Service", facts.SERVICE)
    asked = ask_trusting if facts.PLAYED else ask
    _status(asked(look, BY_OWN_NAME), OK, BY_OWN_NAME, "the site has no certificate for its name")
    return Seen(f"HTTP {OK} from {facts.EXTERNAL_NAME}")


@check(
    id="certificate",
    title="a client that looks at certificates does not even ask",
    why="A certificate holds for the names in it. The alias is known to DNS, not to the site.",
    expect="the handshake ends with: the certificate is not for this host name",
    anchor="certificate",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def certificate(look: Look) -> Seen:
    """Believe the authority, and nothing but a certificate of the name asked for."""
    _played()
    look.get("Service", facts.SERVICE)
    answer = ask_trusting(look, BY_SERVICE)
    if answer.fault is not Fault.CERTIFICATE or facts.SERVICE not in answer.message:
        raise Unmet(
            str(answer),
            fault=answer.fault,
            expected=f"{Fault.CERTIFICATE}: it is not for {facts.SERVICE}",
            causes=("the site's certificate was made for this name as well",),
        )
    return Seen(answer.message)


@check(
    id="host-header",
    title="the Host header alone decides between 200 and 403",
    why="One address serves many sites; the header, not address or alias, says which is meant.",
    expect=f"{OK} with the own name in it by either way, {FORBIDDEN} with the Service's",
    anchor="host-and-sni",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def host_header(look: Look) -> Seen:
    """Cross each way with the other's name."""
    _played()
    look.get("Service", facts.SERVICE)
    for url, host, wanted in (
        (BY_SERVICE, facts.EXTERNAL_NAME, OK),
        (BY_OWN_NAME, facts.SERVICE, FORBIDDEN),
    ):
        answer = ask(look, url, "-H", f"Host: {host}")
        _status(answer, wanted, f"{url} with Host: {host}")
    return Seen(f"Host: {facts.EXTERNAL_NAME} {OK}, Host: {facts.SERVICE} {FORBIDDEN}")


@check(
    id="sni",
    title="the name in the handshake (SNI) decides which certificate comes",
    why="The certificate must be chosen before any header can be read, so TLS says the name first.",
    expect="by the Service's name one that fails, and by the same way with the own name one "
    "that holds",
    anchor="host-and-sni",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def sni(look: Look) -> Seen:
    """Connect twice to the Service's name, and say a different name each time."""
    _played()
    look.get("Service", facts.SERVICE)
    shown = []
    for name, holds in ((facts.SERVICE, False), (facts.EXTERNAL_NAME, True)):
        subject, code, words = _handshake(look, name)
        if (code == 0) is not holds:
            raise Unmet(
                f"SNI {name}: certificate of {subject}: {words}",
                expected=f"one that {'holds' if holds else 'does not hold'} for {name}",
                causes=("the site has the same certificate for every name",),
            )
        shown.append(f"SNI {name}: {subject} ({words})")
    whole = ask_trusting(
        look, BY_OWN_NAME, "--connect-to", f"{facts.EXTERNAL_NAME}:443:{facts.SERVICE}:443"
    )
    _status(whole, OK, f"{BY_OWN_NAME} over a connection to {facts.SERVICE}")
    return Seen(", ".join(shown))


_TERMINATED = 143  # what busybox's timeout leaves
_SUBJECT = re.compile(r"^subject=(?:.*\bCN ?= ?)?(.+)$", re.MULTILINE)
_CODE = re.compile(r"Verify return code: (\d+) \((.+)\)")


def _handshake(look: Look, name: str) -> tuple[str, int, str]:
    """Who the certificate is for that comes for ``name``; number and words of its verification.

    Raises:
        Unmet: There was no handshake, or the authority's certificate cannot be fetched.
    """
    connect = f"openssl s_client -connect {facts.SERVICE}:443 -servername {name}"
    verify = f"-verify_hostname {name} -CAfile /dev/fd/3"
    line = f"curl -sS -m 12 {facts.AUTHORITY} | timeout 12 {connect} {verify} 3<&0 </dev/null"
    result = in_client(look, ["sh", "-c", line], shown=[*connect.split(), "-CAfile", "CA"])
    subject, code = _SUBJECT.search(result.stdout), _CODE.search(result.stdout)
    if result.rc == _TERMINATED:
        raise Unmet(f"no handshake with {facts.SERVICE} in time", fault=Fault.TIMEOUT)
    if not subject or not code:
        # curl comes first, and what it says is plain; openssl ends with the number of an error.
        said = [line for line in result.stderr.splitlines() if "errno" not in line]
        raise Unmet(f"no handshake with {facts.SERVICE}: {said[0] if said else 'no answer'}")
    return subject[1].strip(), int(code[1]), code[2]


def _played() -> None:
    if not facts.PLAYED:
        raise NotHere(NO_REAL_SITE)
