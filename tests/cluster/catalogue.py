"""The table of all breaks against the checks that tell them: ``python -m tests.cluster.catalogue``.

It is kept in ``docs/faults.md``; a test holds the two equal.
"""

import importlib
from pathlib import Path

from l4lab.lab import find_labs

PROJECT = Path(__file__).parents[2]
FILE = PROJECT / "docs" / "faults.md"
HEAD = """\
# Faults against checks

Each lab can be broken on purpose, on real machines, and the named check must tell. `./l4lab test`
does so with a few faults of clusterip and externalname that stand for the others; `./l4lab test
--every-break` with all of them. This table is written by `python -m tests.cluster.catalogue` from
the tests' own data.
"""


def breaks_of(name):
    """A lab's breaks, in their order."""
    return importlib.import_module(f"tests.cluster.faults.{name.replace('-', '_')}").BREAKS


def table():
    """The whole document."""
    labs = list(find_labs(PROJECT))
    count = sum(len(breaks_of(name)) for name in labs)
    lines = [HEAD, f"There are {count} faults for {len(labs)} labs.\n"]
    for name in labs:
        lines += [
            f"## {name}\n",
            "| Fault | Told first by | Also red | Cannot be measured | Stays green |",
            "| --- | --- | --- | --- | --- |",
        ]
        for fault in breaks_of(name):
            others = [fault.red - {fault.explains}, fault.error, fault.green]
            cells = [words(ids) for ids in others]
            lines.append(f"| {fault} | `{fault.explains}` | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def words(ids):
    return ", ".join(f"`{one}`" for one in sorted(ids))


if __name__ == "__main__":
    FILE.write_text(table())
