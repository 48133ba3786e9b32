"""The administrator's certificate: kubeadm makes it, and all of its others, good for a year."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from pathlib import Path

from l4lab.errors import MachineError

RENEW = "./l4lab reset, then ./l4lab up; or set this machine's clock right"
_INLINE = re.compile(r"client-certificate-data\W+([\w+/=]+)")
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
# Only its validity has two times in a row, the second its end. In ASN.1's two ways to write them.
_TIMES = re.compile(rb"(?:\x17\r\d{12}|\x18\x0f\d{14})Z(?:\x17\r(\d{12})|\x18\x0f(\d{14}))Z")


def end_of(kubeconfig: Path) -> datetime | None:
    """When the client's certificate in a kubeconfig ends; None where it holds none.

    Raises:
        ValueError: What it holds is no certificate.
    """
    found = _INLINE.search(kubeconfig.read_text())
    if not found:
        return None
    # Read by hand: a library for it takes longer to import than kubectl to answer.
    pem = _PEM.search(base64.b64decode(found.group(1)))
    times = _TIMES.search(base64.b64decode(pem.group(1))) if pem else None
    if times is None:
        raise ValueError("its client-certificate-data is no certificate")
    short, long = times.groups()
    return datetime.strptime((long or b"20" + short).decode() + "Z", "%Y%m%d%H%M%S%z")


def refuse_expired(kubeconfig: Path) -> None:
    """See that the API server will let the administrator in.

    This machine's clock decides, as it does for the API server's own certificate, which is as old:
    a server that is refused here need not be asked.

    Raises:
        MachineError: The certificate has expired, or is none.
    """
    try:
        end = end_of(kubeconfig)
    except ValueError as damaged:
        raise MachineError(
            "the cluster's kubeconfig is damaged", str(damaged), "./l4lab up"
        ) from damaged
    if end and end <= datetime.now(UTC):
        raise MachineError(
            "the cluster's certificates have expired",
            f"the administrator's was good until {end:%Y-%m-%d %H:%M} UTC, and kubeadm makes all "
            "of them for a year",
            RENEW,
        )
