"""What a file of a release must be: its published SHA-256, and the one it had at first use."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from l4lab.bundle.part import locked
from l4lab.errors import BundleError

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_HEAD = """\
# What each file was at its first use, by the SHA-256 that its project publishes; written by l4lab.
# Another digest is refused from then on. To hold it for everybody, copy it to
# infra/l4lab/bundle/upstream.toml.
"""


def published(text: str, name: str) -> str | None:
    """The SHA-256 of the file ``name`` in a published list; None if it does not name it.

    It understands a digest alone, and lines of digest and name as ``sha256sum`` writes them.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) == 1:
        found = lines[0][0].lower()
        return found if _DIGEST.fullmatch(found) else None
    for words in lines:
        named = words[-1].removeprefix("*").rpartition("/")[2]
        if words[1:] and named == name and _DIGEST.fullmatch(words[0].lower()):
            return words[0].lower()
    return None


@dataclass(frozen=True)
class FirstUse:
    """The file that remembers what each file of a release was when it was first used."""

    path: Path

    def digest(self, key: str) -> str | None:
        """The SHA-256 a file had; None if it was never used.

        Raises:
            BundleError: The file that remembers is damaged.
        """
        return self._read().get(key, {}).get("sha256")

    def remember(self, key: str, *, sha256: str, told_by: str) -> None:
        """Note a file at its first use.

        Args:
            key: The file: component, version and path.
            sha256: Its digest.
            told_by: The address that published it.

        Raises:
            BundleError: The file that remembers is damaged, or another l4lab has just noted another
                digest.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path.with_name(self.path.name + ".busy")):
            known = self._read()
            if known.get(key, {}).get("sha256", sha256) != sha256:
                raise BundleError(
                    f"{key} is another than at its first use",
                    f"it was {known[key]['sha256']}, it is {sha256}",
                    f"find out why; if that is right, delete [{json.dumps(key)}] in {self.path}",
                )
            if key in known:
                return
            known[key] = {"sha256": sha256, "told_by": told_by}
            lines = [_HEAD]
            for name, facts in sorted(known.items()):
                pairs = [f"{word} = {json.dumps(value)}" for word, value in facts.items()]
                lines.append("\n".join([f"[{json.dumps(name)}]", *pairs]) + "\n")
            working = self.path.with_name(self.path.name + ".new")
            working.write_text("\n".join(lines))
            working.replace(self.path)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = tomllib.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as failed:
            raise BundleError(
                f"cannot read {self.path}",
                str(failed),
                "mend it; without it, every file counts as never used",
            ) from failed
        for name, facts in found.items():
            if not isinstance(facts, dict) or not _DIGEST.fullmatch(str(facts.get("sha256"))):
                raise BundleError(
                    f"cannot read {self.path}", f"there is no SHA-256 of {name}", "mend that line"
                )
        return found
