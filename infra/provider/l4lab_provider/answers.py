"""How the provider's answers to the engine are made: refusals, and objects not in order."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

import grpc  # type: ignore[import-untyped]  # ships no types
from google.protobuf.any_pb2 import Any as AnyMessage  # type: ignore[import-untyped]  # as above
from pulumi.runtime import proto
from pulumi.runtime.proto import status_pb2

from .api import ApiError, UnreachableError
from .objects import NotAnObjectError, Object, Type
from .values import UNKNOWN, UnsupportedError

# The generated messages name modules that exist only for the generator.
Request = Any
Context = Any
Method = TypeVar("Method", bound=Callable[..., Any])

_SERVICE: Final = Type("v1", "Service")


class RefusedError(Exception):
    """A request that cannot be fulfilled; the text is for the user."""


def told(method: Method) -> Method:
    """Turn what a method raises into an answer the engine shows without a stack trace."""

    @functools.wraps(method)
    def answer(self: Any, request: Request, context: Context) -> Any:  # noqa: ANN401
        try:
            return method(self, request, context)
        except UnreachableError as failed:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(failed))
        except (RefusedError, ApiError, UnsupportedError, NotAnObjectError) as failed:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(failed))

    return answer  # type: ignore[return-value]  # same signature, only told otherwise


def fail_initialized(context: Context, *, reason: str, **state: Any) -> NoReturn:  # noqa: ANN401
    """Tell the engine that the object is there, to be kept in the state, but not in order."""
    detail = AnyMessage()
    detail.Pack(proto.ErrorResourceInitFailed(reasons=[reason], **state))
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reason)
    status.details.append(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, reason)
    raise AssertionError("abort always raises")


def first_field(refused: ApiError) -> str:
    """The field that a refusal names first; empty where it names none."""
    return next((cause["field"] for cause in refused.causes if cause.get("field")), "")


def merged(old: Any, new: Any) -> Any:  # noqa: ANN401  JSON is any
    """What will be there of an object: ``old`` with ``new`` laid over it."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: merged(old.get(key), item) for key, item in new.items()}}
    return new


def foreseen(kind: Type, planned: Object, known: Object) -> Object:
    """What a preview shows of an object: what the server will give a Service is not known yet.

    A program takes an address or a node port that is absent for one that there never will be.

    Args:
        kind: Of the object.
        planned: What is declared, over what is there.
        known: What is there; empty where it is to be made.
    """
    spec = planned.get("spec")
    if kind != _SERVICE or not isinstance(spec, dict) or spec.get("type") == "ExternalName":
        return planned
    found = {**spec, "clusterIP": spec.get("clusterIP") or UNKNOWN}
    ports, before = (one.get("ports") for one in (spec, known.get("spec") or {}))
    if isinstance(ports, list) and _has_node_ports(spec):
        had = {_listens(port): port.get("nodePort") for port in before or []}
        found["ports"] = [
            {**port, "nodePort": port.get("nodePort") or had.get(_listens(port)) or UNKNOWN}
            if isinstance(port, dict)
            else port
            for port in ports
        ]
    return {**planned, "spec": found}


def _has_node_ports(spec: Object) -> bool:
    if spec.get("type") == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts") is not False
    return spec.get("type") in ("NodePort", UNKNOWN)


def _listens(port: Object) -> tuple[Any, Any]:
    return port.get("port"), port.get("protocol") or "TCP"
