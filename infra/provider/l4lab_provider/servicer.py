"""The provider's side of the conversation with the Pulumi engine: one method a request."""

from __future__ import annotations

import functools
import threading
from typing import Any

import grpc  # type: ignore[import-untyped]  # ships no types
from google.protobuf import empty_pb2  # type: ignore[import-untyped]  # as above
from pulumi.runtime import proto
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2_grpc

from . import awaits, diff, drift, ending, objects, refusals, values
from .answers import (
    Context,
    RefusedError,
    Request,
    fail_initialized,
    first_field,
    foreseen,
    merged,
    told,
)
from .api import Api, ApiError, Kind, UnknownKindError
from .objects import Object, Type


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Answers the engine about Kubernetes objects of one cluster."""

    def __init__(self, *, version: str, engine: str | None) -> None:
        self._version = version
        self._api: Api | None = Api()
        self._namespace: str | None = None
        self._cancelled = threading.Event()
        self._replaced: set[str] = set()
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine)) if engine else None

    # -- the provider itself

    def GetPluginInfo(self, _request: Request, _context: Context) -> Any:  # noqa: ANN401, D102, N802
        return proto.PluginInfo(version=self._version)

    @told
    def GetSchema(self, _request: Request, _context: Context) -> Any:  # noqa: ANN401, D102, N802
        raise RefusedError(
            "l4lab's Kubernetes provider has no schema: use the pulumi_kubernetes package"
        )

    def CheckConfig(self, request: Request, _context: Context) -> Any:  # noqa: ANN401, D102, N802
        return proto.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Request, _context: Context) -> Any:  # noqa: ANN401, D102, N802
        old, _ = values.decode(request.old_inputs)
        new, _ = values.decode(request.news)
        # Another cluster has none of the objects: everything on it must be made anew.
        fixed = [key for key in ("cluster", "context") if old.get(key) != new.get(key)]
        return proto.DiffResponse(
            changes=proto.DiffResponse.DIFF_SOME if old != new else proto.DiffResponse.DIFF_NONE,
            replaces=fixed,
            diffs=[key for key in {**old, **new} if old.get(key) != new.get(key)],
        )

    @told
    def Configure(self, request: Request, _context: Context) -> Any:  # noqa: ANN401, D102, N802
        given, _ = values.decode(request.args)
        if given.get("renderYamlToDirectory"):
            raise RefusedError("l4lab's Kubernetes provider does not render YAML to a directory")
        self._namespace = given.get("namespace")
        # A kubeconfig that this update makes: until then nothing can be asked.
        self._api = (
            None
            if values.has_unknown(given)
            else Api(kubeconfig=given.get("kubeconfig"), context=given.get("context"))
        )
        return proto.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Cancel(self, _request: Request, _context: Context) -> Any:  # noqa: ANN401, D102, N802
        self._cancelled.set()
        return empty_pb2.Empty()

    @told
    def Invoke(self, request: Request, _context: Context) -> Any:  # noqa: ANN401, D102, N802
        raise RefusedError(
            f"l4lab's Kubernetes provider cannot do {request.tok}: it has no YAML, kustomize or "
            "Helm; declare the objects, or install the official plugin"
        )

    @told
    def Construct(self, request: Request, _context: Context) -> Any:  # noqa: ANN401, D102, N802
        objects.type_of(request.type)
        raise RefusedError(f"{request.type} is not supported by l4lab's Kubernetes provider")

    # -- its resources

    @told
    def Check(self, request: Request, _context: Context) -> Any:  # noqa: ANN401, D102, N802
        kind = objects.type_of(request.type)
        news, secrets = values.decode(request.news)
        olds, _ = values.decode(request.olds)
        news = objects.without_nulls(news)
        news.pop(objects.IMPORTED, None)
        news.setdefault("apiVersion", kind.api_version)
        news.setdefault("kind", kind.kind)
        objects.set_name(news, resource=request.name, old=olds or None, seed=request.randomSeed)
        secrets |= objects.secret_paths(kind, news)
        failures = []
        try:
            self._settle_namespace(kind, news)
            self._judge(kind, olds=olds, news=news, secrets=secrets)
        except ApiError as refused:
            reason = values.redact(self._told(refused, news), value=news, secrets=secrets)
            failures = [proto.CheckFailure(property=first_field(refused), reason=reason)]
        return proto.CheckResponse(inputs=values.encode(news, secrets), failures=failures)

    @told
    def Diff(self, request: Request, _context: Context) -> Any:  # noqa: ANN401, D102, N802
        kind = objects.type_of(request.type)
        old, _ = values.decode(request.old_inputs)
        new, secrets = values.decode(request.news)
        changed = diff.asked(old, new)
        replaces = diff.replacing(kind, changed, old)
        if changed and not replaces and self._api and not values.has_unknown(new):
            try:
                gone = diff.taken_back(kind, old, changed)
                refused = diff.refuses_change(
                    self._api, self._served(kind), new, changed, gone=gone
                )
            except ApiError as failed:
                raise RefusedError(
                    values.redact(str(failed), value=new, secrets=secrets)
                ) from failed
            if refused:
                replaces = diff.named_by(refused, changed)
        if replaces:
            self._replaced.add(request.urn)
        kinds = proto.PropertyDiff
        detailed = {
            values.text_of(path): kinds(
                kind=getattr(kinds, f"{how.name}_REPLACE" if path in replaces else how.name),
                inputDiff=True,
            )
            for path, how in changed.items()
        }
        return proto.DiffResponse(
            changes=proto.DiffResponse.DIFF_SOME if changed else proto.DiffResponse.DIFF_NONE,
            replaces=sorted({str(path[0]) for path in replaces}),
            diffs=sorted({str(path[0]) for path in changed}),
            detailedDiff=detailed,
            hasDetailedDiff=True,
            # Two objects cannot bear one name: unless the new one gets its own, the old goes first.
            deleteBeforeReplace=bool(replaces) and not _gets_new_name(old, new),
        )

    @told
    def Create(self, request: Request, context: Context) -> Any:  # noqa: ANN401, D102, N802
        kind = objects.type_of(request.type)
        wanted, secrets = values.decode(request.properties)
        identity = objects.id_of(wanted)
        if self._api and not values.has_unknown(wanted):
            self._make_room(
                kind,
                wanted,
                replaced=request.preview and request.urn in self._replaced,
                within=0 if request.preview else awaits.deadline_of(wanted, request.timeout),
            )
        if request.preview:
            planned = foreseen(kind, wanted, {})
            return proto.CreateResponse(properties=values.encode(planned, secrets))
        live = self._apply(kind, wanted, secrets)
        live = self._await(
            live, wanted, secrets, context=context, timeout=request.timeout, urn=request.urn
        )
        return proto.CreateResponse(id=identity, properties=self._outputs(kind, live, secrets))

    @told
    def Read(self, request: Request, context: Context) -> Any:  # noqa: ANN401, D102, N802
        kind = objects.type_of(request.type)
        namespace, name = objects.split_id(request.id)
        inputs, secrets = values.decode(request.inputs)
        before, _ = values.decode(request.properties)
        try:
            live = self._reach().get(self._served(kind), namespace=namespace, name=name)
        except UnknownKindError:
            live = None
        # One that is going is still the stack's: what updates or deletes it waits for its end.
        if live is None or (ending.is_ending(live) and not inputs):
            return proto.ReadResponse()
        found = drift.seen(kind, inputs, before, live) if inputs else objects.imported_inputs(live)
        secrets |= objects.secret_paths(kind, found) | objects.secret_paths(kind, live)
        trouble = awaits.trouble_of(self._reach(), live) if inputs else None
        state = {
            "id": request.id,
            "properties": self._outputs(kind, live, secrets),
            "inputs": values.encode(found, secrets),
        }
        if trouble:
            fail_initialized(context, reason=trouble.text, **state)
        return proto.ReadResponse(**state)

    @told
    def Update(self, request: Request, context: Context) -> Any:  # noqa: ANN401, D102, N802
        kind = objects.type_of(request.type)
        wanted, secrets = values.decode(request.news)
        if request.preview:
            known, was_secret = values.decode(request.olds)
            planned = foreseen(kind, merged(known, wanted), known)
            return proto.UpdateResponse(properties=values.encode(planned, secrets | was_secret))
        old, _ = values.decode(request.old_inputs)
        before = self._reach().get(
            self._served(kind),
            namespace=objects.namespace_of(wanted),
            name=objects.name_of(wanted),
        )
        if before and ending.is_ending(before):
            self._outlast(before, awaits.deadline_of(wanted, request.timeout))
            if kind.kind == "Namespace":  # the engine still takes what was in it to be there
                raise RefusedError("it was being deleted, and all in it has gone: run it again")
            before = None
        live = self._apply(kind, wanted, secrets, old=old)
        live = self._await(
            live,
            wanted,
            secrets,
            context=context,
            timeout=request.timeout,
            urn=request.urn,
            before=before,
        )
        return proto.UpdateResponse(properties=self._outputs(kind, live, secrets))

    @told
    def Delete(self, request: Request, _context: Context) -> Any:  # noqa: ANN401, D102, N802
        kind = objects.type_of(request.type)
        namespace, name = objects.split_id(request.id)
        old, _ = values.decode(request.properties)
        api = self._reach()
        try:
            served = self._served(kind)
        except UnknownKindError:
            return empty_pb2.Empty()  # its definition is gone, and all of the kind with it
        live = api.get(served, namespace=namespace, name=name)
        uid = (old.get("metadata") or {}).get("uid")
        if live is None or (uid and live["metadata"]["uid"] != uid):
            return empty_pb2.Empty()  # ours is gone; another of its name is not ours to delete
        api.delete(served, namespace=namespace, name=name, uid=live["metadata"]["uid"])
        held = ending.wait_until_gone(
            api,
            live,
            within=awaits.deadline_of(live, request.timeout),
            cancelled=self._cancelled,
        )
        if held:
            raise RefusedError(held)
        return empty_pb2.Empty()

    # -- what they share

    def _reach(self) -> Api:
        if self._api is None:
            raise RefusedError("the cluster's kubeconfig is not known yet")
        return self._api

    def _served(self, kind: Type) -> Kind:
        return self._reach().kind(kind.api_version, kind.kind)

    def _settle_namespace(self, kind: Type, news: Object) -> None:
        """Write down the namespace the object gets, so that it is part of its identity."""
        if self._api is None or objects.namespace_of(news):
            return
        try:
            if self._served(kind).namespaced:
                news["metadata"]["namespace"] = self._namespace or self._api.namespace
        except UnknownKindError:
            pass  # its definition may come with the same update; Create tells if not

    def _judge(self, kind: Type, *, olds: Object, news: Object, secrets: frozenset[Any]) -> None:
        """Have the API server check what is to be created; changes are judged by Diff."""
        del secrets  # told by the caller
        same = olds and objects.id_of(olds) == objects.id_of(news)
        if self._api is None or same or values.has_unknown(news):
            return
        try:
            diff.check_new(self._api, self._served(kind), news)
        except UnknownKindError:
            return

    def _make_room(self, kind: Type, wanted: Object, *, replaced: bool, within: float) -> None:
        """Refuse to take an object that is there already; one that is going is outlasted."""
        try:
            served = self._served(kind)
        except UnknownKindError:
            if replaced:
                return
            raise
        name, namespace = objects.name_of(wanted), objects.namespace_of(wanted)
        while not replaced and (live := self._reach().get(served, namespace=namespace, name=name)):
            if not ending.is_ending(live):
                identity = objects.id_of(wanted)
                raise RefusedError(
                    f"{kind.kind} {identity} exists already, and this stack has not made it: "
                    f'delete it, or take it over with the resource option import_="{identity}"'
                )
            if not within:
                return  # a preview does not wait
            self._outlast(live, within)

    def _outlast(self, live: Object, within: float) -> None:
        """Wait until an object that is being deleted is gone: nothing can be made of it."""
        held = ending.wait_until_gone(self._reach(), live, within=within, cancelled=self._cancelled)
        if held:
            raise RefusedError(f"it is still being deleted: {held}")

    def _apply(
        self,
        kind: Type,
        wanted: Object,
        secrets: frozenset[Any],
        *,
        old: Object | None = None,
    ) -> Object:
        changed = diff.asked(old, wanted) if old else {}
        gone = diff.taken_back(kind, old or {}, changed)
        try:
            return diff.change_in_place(
                self._reach(), self._served(kind), wanted, changed, gone=gone
            )
        except ApiError as refused:
            raise RefusedError(
                values.redact(self._told(refused, wanted), value=wanted, secrets=secrets)
            ) from refused

    def _told(self, refused: ApiError, wanted: Object) -> str:
        return refusals.told(self._reach(), refused, wanted)

    def _await(
        self,
        live: Object,
        wanted: Object,
        secrets: frozenset[Any],
        *,
        context: Context,
        timeout: float,
        urn: str,
        before: Object | None = None,
    ) -> Object:
        try:
            return awaits.wait_until_ready(
                self._reach(),
                live,
                before=before,
                within=awaits.deadline_of(wanted, timeout),
                cancelled=self._cancelled,
                tell=functools.partial(self._tell, urn),
            )
        except awaits.NotReadyError as failed:
            kind = Type(live["apiVersion"], live["kind"])
            fail_initialized(
                context,
                reason=values.redact(str(failed), value=wanted, secrets=secrets),
                id=objects.id_of(live),
                properties=self._outputs(kind, failed.live, secrets),
                inputs=values.encode(wanted, secrets),
            )

    def _outputs(self, kind: Type, live: Object, secrets: frozenset[Any]) -> Any:  # noqa: ANN401
        kept = objects.outputs_of(live)
        return values.encode(kept, secrets | objects.secret_paths(kind, kept))

    def _tell(self, urn: str, text: str) -> None:
        if self._engine:
            self._engine.Log(
                proto.LogRequest(severity=proto.INFO, message=text, urn=urn, ephemeral=True)
            )


def _gets_new_name(old: Object, new: Object) -> bool:
    named_by_us = objects.annotation(new, objects.AUTONAMED) == "true"
    return named_by_us or objects.id_of(old) != objects.id_of(new)
