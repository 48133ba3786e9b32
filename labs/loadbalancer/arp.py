"""Asking by ARP who has an address, and hearing everybody out."""

from __future__ import annotations

from l4lab.checks import CannotMeasure, Look

_SECONDS = 1.5
# Other tools stop at the first reply; here all of them count. Frames of Ethernet: two addresses,
# type 0806; then ARP for IPv4: operation, sender, target.
_PROGRAM = """
import json, socket, struct, subprocess, sys, time
target = sys.argv[1]
way = json.loads(subprocess.check_output(["ip", "-j", "route", "get", target]))[0]
line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
line.bind((way["dev"], 0x0806))
mac = line.getsockname()[4]
own, asked = socket.inet_aton(way["prefsrc"]), socket.inet_aton(target)
head = b"\\xff" * 6 + mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1)
line.send(head + mac + own + bytes(6) + asked)
end = time.monotonic() + float(sys.argv[2])
while (left := end - time.monotonic()) > 0:
    line.settimeout(left)
    try:
        frame = line.recv(64)
    except TimeoutError:
        break
    if frame[20:22] == b"\\0\\2" and frame[28:32] == asked:
        print(frame[22:28].hex(":"), flush=True)
"""


def replies(look: Look, address: str) -> list[str]:
    """The MACs that say they have ``address``, in the order of their replies.

    Raises:
        CannotMeasure: Nothing could be asked from here.
    """
    seconds = f"{_SECONDS * look.factor:g}"
    result = look.run(
        ["python3", "-c", _PROGRAM, address, seconds],
        shown=["tcpdump", "-n", "-c", "3", "arp", "and", "src", "host", address],
    )
    if not result.succeeded:
        raise CannotMeasure(f"ARP from {look.vantage} failed: {result.last_line}")
    return list(dict.fromkeys(result.stdout.split()))
