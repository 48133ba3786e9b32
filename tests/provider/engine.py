"""Plays the Pulumi engine: starts the provider's executable and asks it over gRPC."""

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime import proto
from pulumi.runtime.proto import provider_pb2_grpc, status_pb2

from provider.l4lab_provider import values

EXECUTABLE = Path(__file__).parents[2] / "infra" / "provider" / "pulumi-resource-kubernetes"


class CheckFailedError(Exception):
    pass


class InitFailedError(Exception):
    """The object is there, but did not become what it should: what the state then holds."""

    def __init__(self, detail):
        super().__init__("; ".join(detail.reasons))
        self.id = detail.id
        self.outputs, self.secrets = values.decode(detail.properties)
        self.inputs = values.decode(detail.inputs)[0]


class ProviderError(Exception):
    pass


@dataclass
class Resource:
    """What the state holds of one resource."""

    token: str
    name: str
    id: str
    inputs: dict
    outputs: dict
    input_secrets: frozenset = frozenset()
    secrets: frozenset = frozenset()
    trouble: str = ""

    @property
    def urn(self):
        return _urn(self.token, self.name)


def _urn(token, name):
    return f"urn:pulumi:test::l4lab::{token}::{name}"


class Engine:
    def __init__(self, environment):
        self.environment = environment
        self.namespace = "default"

    def __enter__(self):
        self.process = subprocess.Popen(
            [EXECUTABLE],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
        port = self.process.stdout.readline().strip()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.stub = provider_pb2_grpc.ResourceProviderStub(self.channel)
        return self

    def __exit__(self, *_):
        self.channel.close()
        self.process.terminate()
        self.process.wait(60)
        self.process.stdout.close()

    def ask(self, method, request):
        try:
            return getattr(self.stub, method)(request, timeout=120)
        except grpc.RpcError as failed:
            for key, value in failed.trailing_metadata() or ():
                if key == "grpc-status-details-bin":
                    status = status_pb2.Status.FromString(value)
                    detail = proto.ErrorResourceInitFailed()
                    status.details[0].Unpack(detail)
                    raise InitFailedError(detail) from None
            raise ProviderError(failed.details()) from None

    def configure(self, **config):
        request = proto.ConfigureRequest(
            args=values.encode(config), acceptSecrets=True, sends_old_inputs=True
        )
        return self.ask("Configure", request)

    def check(self, token, name, news, *, old=None, secrets=(), seed=b"seed"):
        answer = self.ask(
            "Check",
            proto.CheckRequest(
                urn=_urn(token, name),
                name=name,
                type=token,
                olds=values.encode(old.inputs) if old else None,
                news=values.encode(news, secrets),
                randomSeed=seed,
            ),
        )
        if answer.failures:
            raise CheckFailedError(
                "; ".join(f"{one.property}: {one.reason}" for one in answer.failures)
            )
        return values.decode(answer.inputs)

    def create(self, token, name, news, *, timeout=0.0, preview=False, secrets=(), bare=False):
        """Check and create; ``bare`` leaves the inputs without the test's namespace."""
        inputs, secret = self.check(
            token, name, news if bare else self.placed(news), secrets=secrets
        )
        answer = self.ask(
            "Create",
            proto.CreateRequest(
                urn=_urn(token, name),
                name=name,
                type=token,
                properties=values.encode(inputs, secret),
                timeout=timeout,
                preview=preview,
            ),
        )
        outputs, hidden = values.decode(answer.properties)
        return Resource(token, name, answer.id, inputs, outputs, secret, hidden)

    def placed(self, news):
        meta = {"namespace": self.namespace, **news.get("metadata", {})}
        return {**news, "metadata": meta}

    def diff(self, old, inputs, secrets=()):
        return self.ask(
            "Diff",
            proto.DiffRequest(
                id=old.id,
                urn=old.urn,
                name=old.name,
                type=old.token,
                olds=values.encode(old.outputs),
                old_inputs=values.encode(old.inputs),
                news=values.encode(inputs, secrets),
            ),
        )

    def plan(self, old, news, *, bare=False):
        """Check new inputs against the old resource and return what changes."""
        inputs, secrets = self.check(
            old.token, old.name, news if bare else self.placed(news), old=old
        )
        return Plan(inputs, secrets, self.diff(old, inputs, secrets))

    def update(self, old, news, *, preview=False, timeout=0.0):
        plan = self.plan(old, news)
        answer = self.ask(
            "Update",
            proto.UpdateRequest(
                id=old.id,
                urn=old.urn,
                name=old.name,
                type=old.token,
                olds=values.encode(old.outputs, old.secrets),
                old_inputs=values.encode(old.inputs),
                news=values.encode(plan.inputs, plan.secrets),
                preview=preview,
                timeout=timeout,
            ),
        )
        outputs, hidden = values.decode(answer.properties)
        return Resource(old.token, old.name, old.id, plan.inputs, outputs, plan.secrets, hidden)

    def refresh(self, old):
        """Read a resource again; None if it is gone."""
        request = proto.ReadRequest(
            id=old.id,
            urn=old.urn,
            name=old.name,
            type=old.token,
            properties=values.encode(old.outputs, old.secrets),
            inputs=values.encode(old.inputs, old.input_secrets),
        )
        try:
            return self._read(old.token, old.name, self.ask("Read", request))
        except InitFailedError as failed:  # the engine keeps both: what was read, and the trouble
            return replace(old, inputs=failed.inputs, outputs=failed.outputs, trouble=str(failed))

    def read(self, token, name, identity):
        """Read an object no state knows, as an import does; None if there is none."""
        answer = self.ask(
            "Read", proto.ReadRequest(id=identity, urn=_urn(token, name), name=name, type=token)
        )
        return self._read(token, name, answer)

    def _read(self, token, name, answer):
        if not answer.id:
            return None
        inputs, secret = values.decode(answer.inputs)
        outputs, hidden = values.decode(answer.properties)
        return Resource(token, name, answer.id, inputs, outputs, secret, hidden)

    def delete(self, old, *, timeout=60.0):
        self.ask(
            "Delete",
            proto.DeleteRequest(
                id=old.id,
                urn=old.urn,
                name=old.name,
                type=old.token,
                properties=values.encode(old.outputs),
                timeout=timeout,
            ),
        )

    def cancel(self):
        self.stub.Cancel(empty_pb2.Empty(), timeout=10)


@dataclass
class Plan:
    inputs: dict
    secrets: frozenset
    answer: object

    @property
    def changes(self):
        return {
            path: proto.PropertyDiff.Kind.Name(one.kind)
            for path, one in self.answer.detailedDiff.items()
        }

    @property
    def same(self):
        return self.answer.changes == proto.DiffResponse.DIFF_NONE

    @property
    def replaces(self):
        return any(kind.endswith("_REPLACE") for kind in self.changes.values())
