"""Reads the parts of classroom.yaml, and words every refusal alike."""

from __future__ import annotations

from typing import Any, Final

from l4lab.errors import SettingsError

_LONGEST_NAME: Final = 100


class Reader:
    """Words every refusal alike: the key, what is wrong, what would be right."""

    def __init__(self, file: str) -> None:
        self.file = file

    def wrong(self, key: str, why: str, right: str | None = None) -> SettingsError:
        """The refusal of a key's value, to be raised."""
        return SettingsError(f"{self.file}: {key} is wrong", why, right)

    def table(self, key: str, value: object, known: tuple[str, ...]) -> dict[str, Any]:
        """A table with no key but the known ones.

        Raises:
            SettingsError: It is not one.
        """
        if not isinstance(value, dict):
            raise self.wrong(key, f"{value!r} is not a table", f"keys: {', '.join(known)}")
        for one in value:
            if one not in known:
                raise SettingsError(
                    f"{self.file}: unknown key {one} in {key}", f"the keys are: {', '.join(known)}"
                )
        return value

    def text(self, key: str, value: object) -> str:
        """A text for people, in one line.

        Raises:
            SettingsError: It is not one.
        """
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, f"{value!r} is not a text", "a name in any script")
        if len(value) > _LONGEST_NAME or not value.isprintable():
            raise self.wrong(
                key, "it is too long, or not in one line", f"up to {_LONGEST_NAME} characters"
            )
        return value.strip()

    def items(self, key: str, value: object) -> list[Any]:
        """A list with something in it.

        Raises:
            SettingsError: It is not one.
        """
        if not isinstance(value, list) or not value:
            raise self.wrong(key, f"{value!r} is not a list with something in it", "- one a line")
        return value
