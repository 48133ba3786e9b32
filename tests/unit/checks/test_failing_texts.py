"""What a learner reads when something is broken, kept word by word in ``golden/``.

After a wanted change: ``L4LAB_GOLDEN=write pytest tests/unit/checks``, then read the difference.
"""

import os
from pathlib import Path

import pytest

from l4lab.checks import explain
from tests.unit.checks import breaks

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("break_it", "check"),
    [
        (breaks.wrong_selector, "selector"),
        (breaks.wrong_selector, "service-answers"),
        (breaks.wrong_port, "service-fields"),
        (breaks.wrong_port, "service-answers"),
        (breaks.wrong_target_port, "service-answers"),
        (breaks.wrong_protocol, "ipvs-row"),
        (breaks.one_replica, "endpoints"),
        (breaks.no_replicas, "balance"),
        (breaks.proxy_stopped, "service-answers"),
        (breaks.proxy_stopped, "kube-ipvs0"),
        (breaks.firewall, "pods-answer"),
        (breaks.firewall, "service-answers"),
        (breaks.no_coredns, "full-name"),
        (breaks.no_coredns, "no-name-on-nodes"),
        (breaks.offload_on, "first-packet"),
        (breaks.other_scheduler, "ipvs-scheduler"),
        (breaks.open_to_all, "not-from-outside"),
        (breaks.nodes_know_names, "no-name-on-nodes"),
        (breaks.image_missing, "pod-addresses"),
        (breaks.not_deployed, "service-answers"),
    ],
)
def test_the_text_of_a_failure(run, world, break_it, check):
    break_it(world)
    world.sync()
    report = run(only=[check])
    told = next(result for result in report.results if not result.green)
    text = explain(told) + "\n"
    file = GOLDEN / f"{break_it.__name__}.{check}.txt"
    if os.environ.get("L4LAB_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()
