"""Ways to break the cluster in memory: each changes one thing."""


def wrong_selector(world):
    world.service["selector"] = {"run": "other"}


def wrong_port(world):
    world.service["ports"][0]["port"] = 81


def wrong_target_port(world):
    world.service["ports"][0]["targetPort"] = 8080


def wrong_protocol(world):
    world.service["ports"][0]["protocol"] = "UDP"


def other_port_name(world):
    world.service["ports"][0]["name"] = "web"


def node_port(world):
    world.service["type"] = "NodePort"


def wrong_pod_label(world):
    for pod in world.pods:
        pod["labels"] = {"run": "other"}


def no_replicas(world):
    world.replicas = 0


def one_replica(world):
    world.replicas = 1


def proxy_stopped(world):
    world.stopped_proxies.add("k8s-node01")
    world.kernels["k8s-node01"].rows = {}


def firewall(world):
    world.blocked.add(("k8s-node01", world.pods[0]["address"]))


def no_coredns(world):
    world.coredns = False


def offload_on(world):
    world.lossy.add("k8s-node01")


def other_scheduler(world):
    world.scheduler["k8s-node02"] = "wrr"


def persistent(world):
    world.scheduler["k8s-node02"] = "rr persistent 10800"


def weights(world):
    world.weight = 2


def nodes_know_names(world):
    world.node_knows_names = True


def open_to_all(world):
    world.reachable_from_outside = True


def wrong_resolver(world):
    world.resolver = "192.168.128.1"


def foreign_address(world):
    world.pods[0]["address"] = "10.245.0.5"


def image_missing(world):
    world.image_reason = "ImagePullBackOff"


def not_deployed(world):
    world.deployed = False


def stranger(world):
    labels = dict(world.template_labels)
    world.replicas += 1
    world.pods.append(
        {"name": "intruder", "address": "10.244.1.99", "node": "k8s-node01", "labels": labels}
    )


def noisy(world):
    world.noise = 1


def uneven(world):
    world.uneven = True


def unready_stranger(world):
    stranger(world)
    world.pods[-1]["ready"] = False
