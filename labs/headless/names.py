"""What cluster DNS answers: all pods for the Service's name, one pod for its own name."""

from __future__ import annotations

from l4lab.checks import ONCE, Fault, Look, Seen, Unmet, check, eventually, side_by_side
from l4lab.checks.network import spoken, tally
from l4lab.checks.service import Pod
from labs.headless import facts
from labs.headless.scene import CLIENT, addresses, asked, backends, full_name, name_of

QUESTIONS = 20
_CAUSES = ("CoreDNS has not yet heard of a change", "the Service does not select the pods")


@check(
    id="all-addresses",
    title="the Service's name gives the addresses of all ready pods",
    why="For a headless Service DNS answers with the pods themselves; the client chooses.",
    expect="one A record for each pod, and no other",
    anchor="names",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
)
def all_addresses(look: Look) -> Seen:
    """Ask for the name once."""
    look.get("Service", facts.SERVICE)
    wanted = sorted(pod.address for pod in backends(look))
    found = addresses(look, full_name(look))
    if sorted(found) != wanted:
        raise Unmet(
            ", ".join(found) or "no address",
            fault=Fault.DNS,
            expected=f"{full_name(look)} is {', '.join(wanted)}",
            causes=_CAUSES,
            then=f"./l4lab kubectl describe service {facts.SERVICE}",
        )
    return Seen(f"{full_name(look)} is {', '.join(found)}")


@check(
    id="order",
    title="the order of the addresses changes from answer to answer",
    why="Most clients take the first address. That CoreDNS shuffles them is all the balancing "
    "there is, and a client that asks once and keeps the answer gets none.",
    expect=f"in {QUESTIONS} answers each pod comes first at least once",
    anchor="order",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
)
def order(look: Look) -> Seen:
    """Ask many times in one go, and count who comes first."""
    look.get("Service", facts.SERVICE)
    pods = backends(look)
    addresses(look, full_name(look))  # where nobody answers, as many questions take minutes
    # Each question brings a line for each pod.
    lines = asked(look, "+short", *[full_name(look)] * QUESTIONS)
    counts = tally(lines[:: len(pods)])
    if len(lines) != QUESTIONS * len(pods) or set(counts) != {pod.address for pod in pods}:
        raise Unmet(
            f"first of {len(lines) // len(pods)} answers: {spoken(counts)}",
            fault=Fault.DNS,
            counts=counts,
            causes=("CoreDNS runs without its plugin loadbalance", *_CAUSES),
            then="./l4lab kubectl get configmap coredns -n kube-system -o yaml",
        )
    return Seen(f"first of {QUESTIONS} answers: {spoken(counts)}", counts)


@check(
    id="own-names",
    title="each pod has a name of its own",
    why="Who needs one certain pod, the first of a database for one, can ask for it by name.",
    expect=f"the name of each pod, POD.{facts.SERVICE}..., gives its address alone",
    anchor="own-names",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
)
def own_names(look: Look) -> Seen:
    """Ask for each pod's name."""
    look.get("Service", facts.SERVICE)

    def own_name(look: Look, pod: Pod) -> str:
        found = addresses(look, name_of(look, pod.name))
        if found != [pod.address]:
            raise Unmet(
                f"{name_of(look, pod.name)} is {', '.join(found) or 'unknown'}",
                fault=Fault.DNS,
                expected=pod.address,
                causes=("the StatefulSet's serviceName is another", *_CAUSES),
                then=f"./l4lab kubectl get pod {pod.name} -o yaml",
            )
        return f"{pod.name} {pod.address}"

    return Seen(", ".join(side_by_side(look, own_name, backends(look))))


@check(
    id="port-by-name",
    title="DNS also tells the pods' port, by the port's name",
    why="An SRV record carries port and pod; it is the one place where the Service's port matters.",
    expect=f"port {facts.TARGET_PORT} and the name of each pod",
    anchor="port-by-name",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
)
def port_by_name(look: Look) -> Seen:
    """Ask for the SRV records: priority, weight, port, name."""
    look.get("Service", facts.SERVICE)
    question = f"_{facts.PORT_NAME}._{facts.PROTOCOL.lower()}.{full_name(look)}"
    wanted = sorted(f"{facts.TARGET_PORT} {name_of(look, pod.name)}." for pod in backends(look))
    found = sorted(" ".join(line.split()[2:]) for line in asked(look, "+short", question, "SRV"))
    if found != wanted:
        raise Unmet(
            ", ".join(found) or "no record",
            fault=Fault.DNS,
            expected=f"{question} is {', '.join(wanted)}",
            causes=("the Service's port has another name or targetPort", *_CAUSES),
            then=f"./l4lab kubectl get service {facts.SERVICE} -o yaml",
        )
    return Seen(", ".join(found))


@check(
    id="ttl",
    title="clients may keep an answer for half a minute",
    why="A client that keeps addresses longer than it may will ask pods that are gone: nothing on "
    "the way corrects it, as a cluster address would.",
    expect=f"a time to live of at most {facts.TTL_SECONDS} s",
    anchor="names",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
)
def ttl(look: Look) -> Seen:
    """Read the time to live of each record."""
    look.get("Service", facts.SERVICE)
    lines = asked(look, "+noall", "+answer", full_name(look), "A")
    lives = [int(line.split()[1]) for line in lines]
    if not lives or max(lives) > facts.TTL_SECONDS:
        raise Unmet(
            f"{max(lives)} s" if lives else "no record",
            fault=Fault.DNS,
            causes=("the plugin kubernetes of CoreDNS has another ttl", *_CAUSES),
            then="./l4lab kubectl get configmap coredns -n kube-system -o yaml",
        )
    return Seen(f"{max(lives)} s")
