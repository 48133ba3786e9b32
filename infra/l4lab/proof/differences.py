"""Compares two fingerprints, and says what would take a difference away."""

from __future__ import annotations

import re
from typing import Final

from l4lab.proof.model import API, Difference, Fingerprint, Mend, Proof

_FLAGS: Final = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}
_OBJECT: Final = re.compile(r"(?P<kind>[A-Z]\w+) (?:(?P<space>[^/ ]+)/)?(?P<name>\S+)$")
# Left of something that was gone already: that the kernel or kubelet drops it, too, is expected.
_TRACE: Final = re.compile(
    r"conntrack \w+ to gone Service |cgroup of gone pod |CNI result of gone pod |"
    r"file /var/(log|lib/kubelet)/pods/.|.* of gone Service$"
)
# A folder of logs is its pod's by its UID; that of a pod that lives is no fact.
_LOGS: Final = re.compile(r"file (/var/log/pods/[\w.-]+_[\w.-]+_[0-9a-f-]{32,36})/")


def compare(before: Fingerprint, after: Fingerprint) -> Proof:
    """What two fingerprints of one scope have in common, and each fact that differs.

    A machine or ``cluster`` that only one of them knows counts with all its facts.
    """
    equal = 0
    differences = []
    for where in dict.fromkeys([*before.facts, *after.facts]):
        old, new = before.facts.get(where, {}), after.facts.get(where, {})
        for what in dict.fromkeys([*old, *new]):
            was, now = old.get(what), new.get(what)
            if now is None and _TRACE.match(what):
                continue
            if was == now:
                equal += 1
            else:
                differences.append(Difference(where, what, was, now, _mend(where, what, was)))
    return Proof(equal, tuple(differences))


def _mend(where: str, what: str, before: str | None) -> Mend | None:
    """The command that removes what was not there before; what was changed is not guessed at."""
    if before is not None:
        return None
    argv: tuple[str, ...] | None = None
    what = what.removesuffix(" of gone Service")
    if where == API:
        match = _OBJECT.fullmatch(what)
        if match:
            space = ("-n", match["space"]) if match["space"] else ()
            argv = ("kubectl", "delete", match["kind"].lower(), match["name"], *space)
    elif match := re.fullmatch(r"IPVS (TCP|UDP|SCTP) (\S+)", what):
        argv = ("ipvsadm", "-D", _FLAGS[match[1]], match[2])
    elif match := re.fullmatch(r"address (\S+) on (\S+)", what):
        argv = ("ip", "address", "del", match[1], "dev", match[2])
    elif match := re.fullmatch(r"ipset (\S+) member (.+)", what):
        argv = ("ipset", "del", match[1], match[2])
    elif match := _LOGS.fullmatch(what):
        argv = ("rm", "-r", match[1])
    elif match := re.fullmatch(r"conntrack (\w+) to gone Service ([\d.]+):\S+", what):
        argv = ("conntrack", "-D", "-p", match[1], "--orig-dst", match[2])
    return Mend(where=where, argv=argv) if argv else None
