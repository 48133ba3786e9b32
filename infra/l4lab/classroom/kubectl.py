"""Changes of the cluster through its own kubectl: apply, delete, a token; each with a deadline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from l4lab.command import CommandError, Result, run
from l4lab.errors import MachineError
from l4lab.state import Access

Json = dict[str, Any]

_SECONDS = 60.0
_MANAGER = "l4lab-class"


@dataclass(frozen=True)
class Kubectl:
    """kubectl as the cluster's administrator."""

    access: Access

    def apply(self, manifests: Sequence[Json]) -> None:
        """Make objects as they are said to be, whoever made or changed them.

        Raises:
            MachineError: The API server does not answer, or refuses one.
        """
        text = "---\n".join(json.dumps(one) + "\n" for one in manifests)
        words = ["apply", "--server-side", "--force-conflicts", f"--field-manager={_MANAGER}"]
        self._run([*words, "-f", "-"], "cannot make the objects of the class", text=text)

    def delete(self, words: Sequence[str], *, namespace: str, within: float) -> str | None:
        """Delete objects, and wait until they and all that came of them are gone.

        Args:
            words: Each as ``kind.version.group/name``.
            namespace: Where they are.
            within: Seconds.

        Returns:
            What is in the way, or None when they are gone.
        """
        options = ["--ignore-not-found", "--cascade=foreground", "--grace-period=1", "--wait=true"]
        limit = [f"--timeout={within:.0f}s", "-n", namespace]
        done = self._ask(["delete", *options, *limit, *words], timeout=within + 15)
        return None if done.succeeded else done.last_line

    def delete_namespace(self, name: str, *, within: float) -> str | None:
        """Delete a namespace and wait until it is gone; what is in the way, or None."""
        words = ["delete", "namespace", name, "--ignore-not-found", f"--timeout={within:.0f}s"]
        done = self._ask(words, timeout=within + 15)
        return None if done.succeeded else self.obstacle(name) or done.last_line

    def delete_cluster_wide(self, words: Sequence[str]) -> None:
        """Delete objects that are in no namespace.

        Raises:
            MachineError: The API server does not answer, or refuses.
        """
        self._run(["delete", "--ignore-not-found", *words], "cannot take the class's rules away")

    def namespace(self, name: str) -> Json | None:
        """The namespace, or None where there is none.

        Raises:
            MachineError: The API server does not answer.
        """
        words = ["get", "namespace", name, "--ignore-not-found", "-o", "json"]
        said = self._run(words, f"cannot read namespace {name}").stdout
        found: Json | None = json.loads(said) if said.strip() else None
        return found

    def obstacle(self, name: str) -> str | None:
        """Why a namespace that is being deleted is still there; None where it is not being so.

        Raises:
            MachineError: The API server does not answer.
        """
        return obstacle(self.namespace(name))

    def token(self, account: str, namespace: str, *, days: int) -> str:
        """A token of a service account, which ends after so many days, and with the account.

        Raises:
            MachineError: The API server does not answer, or refuses.
        """
        words = ["create", "token", account, "-n", namespace, f"--duration={days * 24}h"]
        return self._run(words, f"cannot make a login for {namespace}").stdout.strip()

    def kubeconfig(self, token: str, *, namespace: str, cluster: str) -> str:
        """A kubeconfig for that token, which begins in the namespace."""
        admin = yaml.safe_load(self.access.paths.kubeconfig.read_text())
        context = {"cluster": cluster, "user": namespace, "namespace": namespace}
        text: str = yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": cluster, "cluster": admin["clusters"][0]["cluster"]}],
                "users": [{"name": namespace, "user": {"token": token}}],
                "contexts": [{"name": namespace, "context": context}],
                "current-context": namespace,
            },
            sort_keys=False,
        )
        return text

    def _run(self, words: Sequence[str], brief: str, *, text: str | None = None) -> Result:
        done = self._ask(["--request-timeout=30s", *words], timeout=_SECONDS, text=text)
        if not done.succeeded:
            raise MachineError(brief, done.last_line or f"exit code {done.rc}", "./l4lab status")
        return done

    def _ask(self, words: Sequence[str], *, timeout: float, text: str | None = None) -> Result:
        argv = [str(self.access.kubectl), f"--kubeconfig={self.access.paths.kubeconfig}", *words]
        try:
            return run(argv, timeout=timeout, check=False, input=text)
        except CommandError as failed:
            raise MachineError(failed.brief, failed.reason, "./l4lab bundle") from failed


def obstacle(namespace: Json | None) -> str | None:
    """Why a namespace that is being deleted is still there, in the API server's words."""
    if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
        return None
    name = namespace["metadata"]["name"]
    conditions = namespace.get("status", {}).get("conditions", [])
    said = [
        one.get("message", one["type"])
        for one in conditions
        if one["status"] == "True" and one["type"].startswith("Namespace")
    ]
    return (
        f"namespace {name} is Terminating: {'; '.join(said) or 'the API server does not say why'}"
    )
