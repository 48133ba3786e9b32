"""The checks of lab clusterip against a cluster in memory: green as it is, red by each break."""

import pytest

from l4lab.checks import State
from labs.clusterip import facts
from tests.unit.checks import breaks


def test_everything_is_green_on_a_lab_as_declared(run):
    report = run(exercises=True)
    assert {result.id: result.seen for result in report.results if not result.green} == {}
    assert report.passed
    assert len({result.id for result in report.results}) >= 15


def test_every_check_is_red_before_the_lab_is_deployed(run, world):
    world.deployed = False
    world.sync()
    report = run()
    # kube-proxy runs and pods are told their name server without any lab, but is asked of a lab.
    green = {result.id for result in report.results if result.green}
    assert green == {"proxy-mode"}
    assert not report.passed


TRAFFIC = {"service-answers", "counters", "balance", "first-packet"}
PODS = {"deployment", "pod-addresses", "selector", "endpoints", "describe"}


@pytest.mark.parametrize(
    ("break_it", "red", "green"),
    [
        (
            breaks.wrong_selector,
            {"service-fields", "selector", "endpoints", "ipvs-row", *TRAFFIC},
            {"deployment", "pods-answer", "full-name"},
        ),
        (breaks.wrong_port, {"service-fields", "ipvs-row", *TRAFFIC}, {"endpoints", "selector"}),
        (breaks.wrong_target_port, {"service-fields", "endpoints", *TRAFFIC}, {"selector"}),
        (breaks.wrong_protocol, {"service-fields", "ipvs-row", *TRAFFIC}, {"endpoints"}),
        (breaks.other_port_name, {"service-fields"}, {"endpoints", *TRAFFIC}),
        (breaks.node_port, {"service-fields"}, {"endpoints", *TRAFFIC}),
        (
            breaks.wrong_pod_label,
            {"selector", "endpoints", "ipvs-row", "balance"},
            {"service-fields"},
        ),
        (breaks.no_replicas, {*PODS, *TRAFFIC}, {"service-fields", "full-name"}),
        (breaks.one_replica, {*PODS, "ipvs-row", "balance"}, {"service-fields", "service-answers"}),
        (
            breaks.proxy_stopped,
            {"proxy-mode", "ipvs-row", "kube-ipvs0", "service-answers"},
            {"endpoints", "pods-answer"},
        ),
        (
            breaks.firewall,
            {"pods-answer", "service-answers", "counters"},
            {"endpoints", "ipvs-row"},
        ),
        (
            breaks.no_coredns,
            {"full-name", "short-names", "no-name-on-nodes"},
            {"pod-resolver", *TRAFFIC},
        ),
        (breaks.offload_on, {"first-packet"}, {"service-answers", "balance", "counters"}),
        (breaks.other_scheduler, {"ipvs-scheduler"}, {"ipvs-row", "service-answers"}),
        (breaks.persistent, {"ipvs-scheduler"}, {"ipvs-row"}),
        (breaks.weights, {"ipvs-masq"}, {"ipvs-row"}),
        (breaks.nodes_know_names, {"no-name-on-nodes"}, {"full-name"}),
        (breaks.open_to_all, {"not-from-outside"}, {"service-answers"}),
        (breaks.wrong_resolver, {"pod-resolver"}, {"full-name"}),
        (breaks.foreign_address, {"pod-addresses"}, {"selector"}),
        (breaks.stranger, {"selector", "endpoints", "pod-addresses"}, {"service-fields"}),
        (breaks.unready_stranger, {"selector", "pod-addresses"}, {"service-answers"}),
        (breaks.noisy, {"counters"}, {"balance", "service-answers"}),
        (breaks.uneven, {"balance"}, {"counters", "service-answers"}),
        (breaks.image_missing, {"pod-addresses", "pods-answer"}, {"service-fields"}),
    ],
)
def test_each_break_turns_the_named_checks_red(run, world, break_it, red, green):
    break_it(world)
    world.sync()
    report = run()
    assert red <= set(report.red)
    assert not green & set(report.red)


def test_a_broken_node_is_named_and_the_others_stay_green(run, world):
    breaks.proxy_stopped(world)
    report = run(only=["ipvs-row"])
    states = {result.vantage: result.state for result in report.results}
    assert states == {
        "node k8s-master01": State.PASS,
        "node k8s-node01": State.FAIL,
        "node k8s-node02": State.PASS,
    }


def test_a_dead_machine_is_an_error_at_once_and_only_there(run, world):
    world.dead_machines.add("k8s-node02")
    report = run(only=["kube-ipvs0"])
    by_place = {result.vantage: result for result in report.results}
    assert by_place["node k8s-node01"].state is State.PASS
    dead = by_place["node k8s-node02"]
    assert (dead.state, dead.attempts) == (State.ERROR, 1)


def test_not_reachable_proves_nothing_from_a_place_that_reaches_no_node(run, world):
    world.outsider_is_cut_off = True
    assert run(only=["not-from-outside"]).state_of("not-from-outside") is State.ERROR


def test_a_web_server_that_does_not_name_its_pod_is_fine(run, world):
    world.served_by = False
    assert run(only=["balance"]).passed


def test_a_pod_that_is_leaving_takes_no_part_and_does_not_matter(run, world):
    world.leaving.append("10.244.1.77")
    assert run(only=["endpoints", "ipvs-row"]).passed


def test_exercises_put_everything_back(run, world):
    before = (world.replicas, len(world.pods))
    run(exercises=True)
    assert (world.replicas, len(world.pods)) == before
    assert world.replicas == facts.REPLICAS


def test_exercises_are_not_tried_while_a_check_is_red(run, world):
    world.scheduler["k8s-node01"] = "wrr"
    report = run(exercises=True)
    assert report.state_of("delete-pod") is State.SKIP
    assert not any("delete" in argv for _, argv in world.commands)


def test_an_exercise_is_red_where_a_kernel_does_not_follow_and_still_puts_back(run, world):
    world.stopped_proxies.add("k8s-node02")
    report = run(only=["scale-to-three"], exercises=True)
    result = report.results[-1]
    assert result.state is State.FAIL
    assert "IPVS of k8s-node02" in result.seen
    assert world.replicas == facts.REPLICAS


def test_checks_run_no_command_that_changes_anything(run, world):
    run()
    verbs = {argv[1] for _, argv in world.commands if argv[0] == "kubectl"}
    assert verbs <= {"get", "describe"}
