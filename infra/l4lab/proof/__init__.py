"""A fingerprint of a clean state, and the proof that a later one is the same.

``snapshot`` reads the cluster's objects and all machines side by side; ``compare`` tells two such
fingerprints apart. What is alive by nature (names of pods, counters, ages) is no fact, so an idle
cluster is always equal to itself; ``docs/design/0014-reset-with-a-proof.md`` names what is left
out, and why.
"""

from l4lab.proof.api import read as read_objects
from l4lab.proof.differences import compare
from l4lab.proof.fingerprints import Patience, owned, prove, settled, snapshot, snapshots
from l4lab.proof.model import (
    API,
    Difference,
    Fingerprint,
    Mend,
    Proof,
    Scope,
    read_json,
    write_json,
)
from l4lab.proof.objects import Objects

__all__ = [
    "API",
    "Difference",
    "Fingerprint",
    "Mend",
    "Objects",
    "Patience",
    "Proof",
    "Scope",
    "compare",
    "owned",
    "prove",
    "read_json",
    "read_objects",
    "settled",
    "snapshot",
    "snapshots",
    "write_json",
]
