"""How the provider's answers to the engine are made: refusals, and objects not in order."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import grpc  # type: ignore[import-untyped]  # ships no types
from google.protobuf.any_pb2 import Any as AnyMessage  # type: ignore[import-untyped]  # as above
from pulumi.runtime import proto
from pulumi.runtime.proto import status_pb2

from .api import ApiError, UnreachableError
from .objects import NotAnObjectError
from .values import UnsupportedError

# The generated messages name modules that exist only for the generator.
Request = Any
Context = Any
Method = TypeVar("Method", bound=Callable[..., Any])


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
    """What a preview shows of an object: ``old`` with ``new`` laid over it."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: merged(old.get(key), item) for key, item in new.items()}}
    return new
