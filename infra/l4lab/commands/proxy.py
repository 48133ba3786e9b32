"""kube-proxy's mode: say it, or change it on a running cluster."""

from __future__ import annotations

import click

from l4lab import proxy as proxies
from l4lab.console import Context, common
from l4lab.settings import PROXY_MODES


@click.command("proxy")
@click.argument("mode", required=False, type=click.Choice(PROXY_MODES))
@common
def proxy(context: Context, mode: str | None) -> int:
    """Say kube-proxy's mode on each node; with MODE, change it and leave nothing of the other."""
    cluster = context.cluster
    if mode:
        cluster.change_proxy(mode)
    nodes = proxies.look(cluster.enter())
    context.result(proxies.data(nodes), proxies.render(nodes))
    return 0 if proxies.clean(nodes, mode) else 1
