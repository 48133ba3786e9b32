"""Keys and certificates of a kubeconfig, kept where no file of them can be left behind."""

from __future__ import annotations

import base64
import os
from typing import Any, Final

_HELD_AS_DATA: Final = (
    ("clusters", "cluster", ("certificate-authority",)),
    ("users", "user", ("client-certificate", "client-key")),
)


def keep_in_memory(config: Any) -> None:  # noqa: ANN401  the client ships no types
    """Turn what a kubeconfig holds as data into files in memory, which end with this process.

    TLS reads keys from files alone. Left to it, the client writes them below ``/tmp``, where they
    stay: the engine ends a provider before Python could tidy up.

    Args:
        config: The kubeconfig, plain or as the client has merged it; it is changed.
    """
    for plural, single, names in _HELD_AS_DATA:
        for item in config.get(plural) or []:
            entry = getattr(item, "value", item).get(single) or {}
            for name in names:
                if data := entry.pop(f"{name}-data", None):
                    entry[name] = _in_memory(base64.standard_b64decode(data))


def _in_memory(content: bytes) -> str:
    """The path of a file in memory, which is never closed: each new connection reads it."""
    handle = os.memfd_create("l4lab")
    with os.fdopen(os.dup(handle), "wb") as file:
        file.write(content)
    return f"/proc/self/fd/{handle}"
