"""What tests of bad input share."""

import pytest

from l4lab.errors import L4labError
from l4lab.retry import wait_for


def refusal(call, *words):
    """The error of a call, which has a line for what, why and next."""
    with pytest.raises(L4labError) as caught:
        call(*words)
    error = caught.value
    assert error.brief
    assert error.resolution
    for line in (error.brief, error.reason, error.resolution):
        assert "\n" not in line
    assert "Traceback" not in str(error)
    return error


class Space:
    """A namespace, looked at without any of the code under test."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.path = f"/api/v1/namespaces/{name}"
        self.service = f"{self.path}/services/web"
        self.deployment = f"/apis/apps/v1/namespaces/{name}/deployments/web"

    def spec(self):
        return self.server.get(self.service)["spec"]

    def edit(self, **fields):
        self.server.patch(self.service, {"spec": fields})

    def post(self, plural, body):
        kinds = {"services": "Service", "configmaps": "ConfigMap"}
        full = {"apiVersion": "v1", "kind": kinds[plural], **body}
        return self.server.request("POST", f"{self.path}/{plural}", full)

    def make(self):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}
        self.server.request("POST", "/api/v1/namespaces", body)
        self.server.wait_for_account(self.name)

    def delete(self):
        self.server.request("DELETE", self.path)

    def wait_until_gone(self, path):
        wait_for(path, lambda: "there" if self.server.get(path) else None, within=180)

    def is_empty(self):
        return all(self.server.get(path) is None for path in (self.service, self.deployment))
