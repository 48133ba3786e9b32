"""Machine drivers: they make machines and never touch Kubernetes."""

from __future__ import annotations

import importlib

from l4lab.errors import UsageError
from l4lab.machines.driver import Driver
from l4lab.settings import Settings
from l4lab.state import Paths

# One line a driver; the class is imported on use.
DRIVERS = {
    "local": "l4lab.machines.local:LocalDriver",
    "ssh": "l4lab.machines.ssh:SshDriver",
}


def get_driver(settings: Settings, paths: Paths) -> Driver:
    """The driver the settings name.

    Raises:
        UsageError: There is no such driver; the text names those there are.
    """
    if settings.driver not in DRIVERS:
        known = ", ".join(DRIVERS)
        raise UsageError(f"there is no driver {settings.driver!r}", f"the drivers are: {known}")
    module, _, name = DRIVERS[settings.driver].partition(":")
    driver: Driver = getattr(importlib.import_module(module), name)(settings.topology, paths)
    return driver


def refuse_other_driver(driver: Driver, made: str | None, cluster: str) -> None:
    """Refuse to take a cluster's state for that of machines of another kind.

    Hosts that were given would be forgotten with the cluster still on them.

    Args:
        driver: The driver the settings name.
        made: The driver the cluster was made with, as its record has it; None where it has none.
        cluster: The cluster's name.

    Raises:
        UsageError: It was made with another.
    """
    if made in (None, driver.name):
        return
    where = {"ssh": "given hosts", "local": "local machines"}.get(made, f"machines of {made}")
    raise UsageError(
        f"cluster {cluster} is on {where}",
        f"it was made with driver {made}, and these settings say driver {driver.name}",
        "use --config FILE with the settings it was made with; or give cluster.name another name",
    )
