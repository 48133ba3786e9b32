"""Comparing what an object must say with what it says, on the asserted fields alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_SCALES: dict[str | None, Decimal] = {
    None: Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    **{unit: Decimal(1000 ** (i + 2)) for i, unit in enumerate("MGTPE")},
    **{f"{unit}i": Decimal(1024 ** (i + 1)) for i, unit in enumerate("KMGTPE")},
}
_MISSING = object()


def differences(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """Every asserted field that is not as asserted, as ``path: expected X, found Y``.

    Lists are compared item by item; quantities by their value (``100m`` is ``0.1``).
    """
    return _compare("", expected, actual)


def _compare(path: str, expected: Any, actual: Any) -> list[str]:  # noqa: ANN401 (JSON)
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping):
            return [_line(path, expected, actual)]
        return [
            line
            for key, value in expected.items()
            for line in _compare(
                f"{path}.{key}" if path else str(key), value, actual.get(key, _MISSING)
            )
        ]
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(expected) != len(actual):
            return [_line(path, expected, actual)]
        return [
            line
            for index, (one, other) in enumerate(zip(expected, actual, strict=True))
            for line in _compare(f"{path}[{index}]", one, other)
        ]
    return [] if _same(expected, actual) else [_line(path, expected, actual)]


def _same(expected: Any, actual: Any) -> bool:  # noqa: ANN401 (JSON)
    if expected == actual:
        return True
    # Only between texts: the port "80" is a name, the port 80 is a number.
    if not (isinstance(expected, str) and isinstance(actual, str)):
        return False
    one, other = quantity(expected), quantity(actual)
    return one is not None and one == other


def quantity(value: str) -> Decimal | None:
    """A Kubernetes quantity as a number, or None where it is none."""
    found = _QUANTITY.fullmatch(value)
    return Decimal(found.group(1)) * _SCALES[found.group(2)] if found else None


def _line(path: str, expected: Any, actual: Any) -> str:  # noqa: ANN401 (JSON)
    found = "nothing" if actual is _MISSING else repr(actual)
    return f"{path}: expected {expected!r}, found {found}"
