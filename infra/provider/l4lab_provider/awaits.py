"""Waiting until an object does what it is for, or until that is hopeless, and saying why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .api import Api, ApiError, UnreachableError
from .ending import EVERY, held_by, is_ending
from .events import refusal
from .objects import SKIP_AWAIT, TIMEOUT, Object, Type, annotation, id_of, name_of, namespace_of

DEFAULT_SECONDS: Final = 600.0
LOOK_CLOSELY_EVERY: Final = 2.0
"""Seconds between two looks at the pods behind an object; in between only it is asked."""
GRACE: Final = 15.0
"""Seconds a trouble is borne that may pass by itself: no room yet, a quota, a missing ConfigMap."""

_DEPLOYMENT: Final = Type("apps/v1", "Deployment")
_POD: Final = Type("v1", "Pod")
_SERVICE: Final = Type("v1", "Service")
_STATEFUL_SET: Final = Type("apps/v1", "StatefulSet")
_REVISION: Final = "deployment.kubernetes.io/revision"
_HASH: Final = "pod-template-hash"
_SET_REVISION: Final = "controller-revision-hash"

_HOPELESS: Final = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_MAY_PASS: Final = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_CRASHES: Final = 2  # restarts before a crash loop is believed: many programs crash once and go on


@dataclass(frozen=True)
class Trouble:
    """What keeps an object from being ready.

    Attributes:
        text: One line, with Kubernetes' own name for the state.
        hopeless: True if no waiting helps, None if it may pass, False if it is only not done yet.
    """

    text: str
    hopeless: bool | None = False


class NotReadyError(Exception):
    """The object is there, but does not do what it is for. ``live`` is the last state seen."""

    def __init__(self, text: str, live: Object) -> None:
        super().__init__(text)
        self.live = live


def deadline_of(wanted: Object, timeout: float) -> float:
    """Seconds an operation may take: the engine's custom timeout, an annotation, or the default."""
    if timeout > 0:
        return timeout
    try:
        return float(annotation(wanted, TIMEOUT) or DEFAULT_SECONDS)
    except ValueError:
        return DEFAULT_SECONDS


def trouble_of(api: Api, live: Object, *, closely: bool = True) -> Trouble | None:
    """What keeps a live object from being ready; None if nothing does.

    Only a close look reads the pods behind it, and so finds out what is hopeless.
    """
    if is_ending(live):
        return Trouble(f"it is being deleted, {held_by(live)}")
    if _is_not_awaited(live):
        return None
    judge = _JUDGES.get(Type(live.get("apiVersion", ""), live.get("kind", "")))
    return judge(api, live, closely) if judge else None


def wait_until_ready(
    api: Api,
    live: Object,
    *,
    within: float,
    cancelled: threading.Event,
    tell: Callable[[str], None],
    before: Object | None = None,
) -> Object:
    """Wait until an object is ready and return it as it is then.

    Args:
        api: The cluster.
        live: The object as it is now.
        within: Seconds until the deadline.
        cancelled: Set when the user does not want to wait any longer.
        tell: Called with each new line on what is still missing.
        before: The object as it was before it was changed, if it was there.

    Raises:
        NotReadyError: It is hopeless, the time is over, or the wait was cancelled.
    """
    kind = api.kind(live["apiVersion"], live["kind"])
    started = time.monotonic()
    told, borne_since, look_at = "", None, started
    trouble = Trouble("not looked at yet")
    while True:
        now = time.monotonic()
        closely = now >= look_at or now - started >= within
        try:
            found = trouble_of(api, live, closely=closely) or _as_before(live, before)
        except (ApiError, UnreachableError) as failed:
            found = Trouble(str(failed))
        if found is None:
            return live
        if closely:
            trouble, look_at = found, now + LOOK_CLOSELY_EVERY
            borne_since = (borne_since or now) if trouble.hopeless is None else None
        if trouble.hopeless or (borne_since and now - borne_since >= GRACE):
            raise NotReadyError(f"{live['kind']} {id_of(live)}: {trouble.text}", live)
        if now - started >= within:
            raise NotReadyError(
                f"{live['kind']} {id_of(live)} not ready within {within:.0f} s: {trouble.text}",
                live,
            )
        if trouble.text != told:
            told = trouble.text
            tell(told)
        if cancelled.wait(EVERY):
            raise NotReadyError(
                f"{live['kind']} {id_of(live)}: wait cancelled: {trouble.text}", live
            )
        try:
            seen = api.get(kind, namespace=namespace_of(live), name=name_of(live))
        except (ApiError, UnreachableError):
            continue  # the judge above tells it, if it lasts
        if seen is None:
            raise NotReadyError(f"{live['kind']} {id_of(live)} was deleted by someone else", live)
        live = seen


def _deployment(api: Api, live: Object, closely: bool) -> Trouble | None:
    status: Object = live.get("status") or {}
    wanted = live["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < live["metadata"]["generation"]:
        return Trouble("the deployment controller has not seen it yet")
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    if updated == total == available == wanted:
        return None
    for condition in status.get("conditions") or []:
        if condition["type"] == "Progressing" and condition["status"] == "False":
            return Trouble(f"{condition.get('reason')}: {condition.get('message')}", hopeless=True)
    worst = _worst(_pods_of(api, live) if closely else [])
    if worst and worst.hopeless is not False:
        return worst
    for condition in status.get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return Trouble(f"{condition.get('reason')}: {condition.get('message')}", hopeless=None)
    old = f", {total - updated} old ones still there" if total > updated else ""
    return Trouble(f"{available} of {wanted} pods are available{old}")


def _pods_of(api: Api, deployment: Object) -> list[Object]:
    """The pods of a Deployment's present revision: those of an older one tell nothing of it."""
    namespace = namespace_of(deployment)
    labels = _selector(deployment["spec"]["selector"])
    sets = api.find(api.kind("apps/v1", "ReplicaSet"), namespace=namespace, labels=labels)
    for one in sets:
        owners = [owner["uid"] for owner in one["metadata"].get("ownerReferences") or []]
        if deployment["metadata"]["uid"] in owners and annotation(one, _REVISION) == annotation(
            deployment, _REVISION
        ):
            digest = one["metadata"]["labels"].get(_HASH, "")
            return _staying(api, namespace, f"{labels},{_HASH}={digest}")
    return []


def _staying(api: Api, namespace: str | None, labels: str) -> list[Object]:
    """Pods, without those on their way out, which fail by being ended.

    With strategy Recreate they are all there is, and of the present revision, until the last of
    them is gone.
    """
    found = api.find(api.kind("v1", "Pod"), namespace=namespace, labels=labels)
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def _stateful_set(api: Api, live: Object, closely: bool) -> Trouble | None:
    status: Object = live.get("status") or {}
    wanted = live["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < live["metadata"]["generation"]:
        return Trouble("the stateful set controller has not seen it yet")
    strategy: Object = live["spec"].get("updateStrategy") or {}
    by_hand = strategy.get("type") == "OnDelete"
    kept = wanted if by_hand else (strategy.get("rollingUpdate") or {}).get("partition", 0)
    old = max(0, wanted - kept - status.get("updatedReplicas", 0))
    ready, total = status.get("readyReplicas", 0), status.get("replicas", 0)
    if ready == total == wanted and not old:
        return None
    labels, revision = _selector(live["spec"]["selector"]), status.get("updateRevision")
    pods = _staying(api, namespace_of(live), labels) if closely else []
    new = [pod for pod in pods if pod["metadata"]["labels"].get(_SET_REVISION) == revision]
    worst = _worst(new)
    if worst and worst.hopeless is not False:
        return worst
    # The controller replaces no pod that it is told to keep, and one after the other only when all
    # are ready: one that is not by then stands in the way.
    if kept or live["spec"].get("podManagementPolicy") != "Parallel":
        worst = _worst([pod for pod in pods if pod not in new])
        if worst and worst.hopeless is not False:
            text = f"{worst.text}; it is not of the present revision, and stays until it is deleted"
            return Trouble(text, hopeless=None)
    if closely and total < wanted and (refused := refusal(api, live)):
        return Trouble(f"FailedCreate: {refused}", hopeless=None)
    more = f", {old} yet to be updated" if old else ""
    return Trouble(f"{ready} of {wanted} pods are ready{more}")


def _selector(selector: Object) -> str:
    words = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or []:
        among = f"({','.join(one.get('values') or [])})"
        words.append(
            {
                "In": f"{one['key']} in {among}",
                "NotIn": f"{one['key']} notin {among}",  # codespell:ignore notin
                "Exists": one["key"],
                "DoesNotExist": f"!{one['key']}",
            }[one["operator"]]
        )
    return ",".join(words)


def _worst(pods: list[Object]) -> Trouble | None:
    """The trouble of a controller's pods that is least likely to pass.

    For one that has failed (evicted, or refused by its node) the controller makes another.
    """
    failed = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Failed"]
    if failed and len(failed) == len(pods):
        trouble = _pod_trouble(failed[0])
        return Trouble(trouble.text, hopeless=None) if trouble else None
    troubles = [found for pod in pods if pod not in failed and (found := _pod_trouble(pod))]
    order = {True: 0, None: 1, False: 2}
    return min(troubles, key=lambda trouble: order[trouble.hopeless], default=None)


def _pod(_api: Api, live: Object, _closely: bool) -> Trouble | None:
    return _pod_trouble(live)


def _is_not_awaited(live: Object) -> bool:
    return annotation(live, SKIP_AWAIT) in ("true", "True")


def _as_before(live: Object, before: Object | None) -> Trouble | None:
    """What of a changed Pod still runs as it did before, and so tells nothing of the change."""
    if not before or Type(live["apiVersion"], live["kind"]) != _POD or _is_not_awaited(live):
        return None
    images = {one["name"]: one["image"] for one in before["spec"]["containers"]}
    ran = {
        one["name"]: one.get("containerID")
        for one in (before.get("status") or {}).get("containerStatuses") or []
    }
    changed = {
        one["name"]: one["image"]
        for one in live["spec"]["containers"]
        if one["image"] != images.get(one["name"], one["image"])
    }
    for one in (live.get("status") or {}).get("containerStatuses") or []:
        name, running = one["name"], one.get("containerID")
        if not running or running != ran.get(name) or name not in changed:
            continue
        # Changed back before its node began, it goes on as it is.
        if not _is_named(one.get("image", ""), changed[name]):
            return Trouble(f"pod {name_of(live)}, container {name}: not begun anew yet")
    return None


def _is_named(image: str, name: str) -> bool:
    """Whether a running image is that of a name, which a runtime writes out in full."""
    full = name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"
    return image in {name, full, f"docker.io/{full}", f"docker.io/library/{full}"}


def _pod_trouble(pod: Object) -> Trouble | None:
    status: Object = pod.get("status") or {}
    name = name_of(pod)
    conditions: dict[str, Any] = {one["type"]: one for one in status.get("conditions") or []}
    if status.get("phase") == "Failed":
        told = [status[key] for key in ("reason", "message") if status.get(key)]
        return Trouble(f"pod {name} failed: {': '.join(told) or _ends(status)}", hopeless=True)
    ready = conditions.get("Ready", {}).get("status") == "True"
    if ready or status.get("phase") == "Succeeded":
        changed = pod["metadata"].get("generation")
        unseen = Trouble(f"pod {name}: its node has not seen the change yet")
        ended = Trouble(f"pod {name} has ended and takes no change: delete it", hopeless=True)
        seen = status.get("observedGeneration", changed) == changed
        return None if seen else unseen if ready else ended
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        text = f"pod {name}: {scheduled.get('reason')}: {scheduled.get('message')}"
        return Trouble(text, hopeless=None)
    for one in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        waiting = (one.get("state") or {}).get("waiting")
        if waiting and (trouble := _container_trouble(name, one, waiting)):
            return trouble
    return Trouble(f"pod {name} is {status.get('phase', 'not seen by a node')}, not ready")


def _ends(status: Object) -> str:
    """How the containers of a pod that has failed have ended."""
    for one in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        ended = (one.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            said = f"exit code {ended['exitCode']} {ended.get('message', '')}".rstrip()
            return f"container {one['name']}: {ended.get('reason', 'ended')} ({said})"
    return "its containers ended"


def _container_trouble(pod: str, status: Object, waiting: Object) -> Trouble | None:
    reason = waiting.get("reason", "")
    text = f"pod {pod}, container {status['name']}: {reason}: {waiting.get('message', '')}".rstrip(
        ": "
    )
    if reason == "CrashLoopBackOff":
        last = (status.get("lastState") or {}).get("terminated") or {}
        if "exitCode" in last:
            text += f" (exit code {last['exitCode']} {last.get('message', '')}".rstrip() + ")"
        return Trouble(text, hopeless=status.get("restartCount", 0) >= _CRASHES or None)
    if reason in _HOPELESS:
        return Trouble(text, hopeless=True)
    if reason in _MAY_PASS:
        return Trouble(text, hopeless=None)
    return Trouble(text) if reason.startswith("Err") else None


def _service(api: Api, live: Object, closely: bool) -> Trouble | None:
    spec: Object = live["spec"]
    # Nothing to wait for where the endpoints are not Kubernetes' own business, or are read as DNS.
    headless = spec.get("clusterIP") == "None"
    if spec.get("type") == "ExternalName" or headless or not spec.get("selector"):
        return None
    slices = api.find(
        api.kind("discovery.k8s.io/v1", "EndpointSlice"),
        namespace=namespace_of(live),
        labels=f"kubernetes.io/service-name={name_of(live)}",
    )
    ready = [
        endpoint
        for one in slices
        for endpoint in one.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready") is not False
    ]
    if not ready:
        return _no_endpoint(api, live) if closely else Trouble("no endpoint is ready")
    if spec.get("type") == "LoadBalancer" and not (
        ((live.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    ):
        return Trouble("nothing has given the load balancer an address")
    return None


def _no_endpoint(api: Api, service: Object) -> Trouble:
    chosen = ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())
    pods = api.find(api.kind("v1", "Pod"), namespace=namespace_of(service), labels=chosen)
    if not pods:
        return Trouble(f"no pod has the labels it selects ({chosen})")
    troubles = [
        Trouble(f"pod {name_of(pod)} has ended, and answers nobody", hopeless=None)
        if (pod.get("status") or {}).get("phase") == "Succeeded"
        else _pod_trouble(pod)
        for pod in pods
    ]
    # One good pod is enough. And none at all is borne for a while: those it has may be the old ones
    # of a Deployment that is being mended at this moment.
    if all(trouble and trouble.hopeless is not False for trouble in troubles) and troubles[0]:
        return Trouble(troubles[0].text, hopeless=None)
    waiting = next((trouble for trouble in troubles if trouble), None)
    return Trouble(waiting.text if waiting else f"no endpoint for its {len(pods)} pods yet")


_JUDGES: Final[dict[Type, Callable[[Api, Object, bool], Trouble | None]]] = {
    _DEPLOYMENT: _deployment,
    _POD: _pod,
    _SERVICE: _service,
    _STATEFUL_SET: _stateful_set,
}
