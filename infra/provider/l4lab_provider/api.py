"""The Kubernetes API as the provider needs it: any kind by name, plain JSON, and plain errors."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from . import credentials

FIELD_MANAGER: Final = "l4lab"
_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 60.0

UNAUTHORIZED: Final = 401
NOT_FOUND: Final = 404
CONFLICT: Final = 409
INVALID: Final = 422

Object = dict[str, Any]


class UnreachableError(Exception):
    """No API server can be asked: no kubeconfig, nobody at the address, or a broken TLS link."""


class ApiError(Exception):
    """The API server refused, in its own words."""

    def __init__(self, status: int, body: Object) -> None:
        super().__init__(body.get("message") or f"the API server answered with HTTP {status}")
        self.status = status
        self.causes: list[dict[str, str]] = (body.get("details") or {}).get("causes") or []


class UnknownKindError(ApiError):
    """The API server serves no such kind (its definition may come later)."""


# What comes of reading one that is missing, no file, or of another shape.
_NO_KUBECONFIG: Final = (OSError, LookupError, TypeError, ValueError, AttributeError)

_LOADING = threading.Lock()  # one for all: what it guards is the import of the client


@dataclass(frozen=True)
class Kind:
    """A kind of object and where the API server serves it."""

    api_version: str
    name: str
    plural: str
    namespaced: bool

    def url(self, *, namespace: str | None, name: str = "") -> str:
        """The path of one object, or of all of a namespace when ``name`` is empty."""
        prefix = "/apis" if "/" in self.api_version else "/api"
        place = f"/namespaces/{quote(namespace)}" if self.namespaced and namespace else ""
        return f"{prefix}/{self.api_version}{place}/{self.plural}" + (
            f"/{quote(name, safe='')}" if name else ""
        )


@dataclass
class Api:
    """A connection to one cluster, made at first use and shared by all threads.

    Attributes:
        kubeconfig: A path, several joined by ``:``, or a file's content; the usual place if None.
        context: A context of the kubeconfig other than the current one.
    """

    kubeconfig: str | None = None
    context: str | None = None
    _client: Any = field(default=None, init=False, repr=False)
    _namespace: str = field(default="default", init=False)
    _kinds: dict[str, dict[str, Kind]] = field(default_factory=dict, init=False, repr=False)

    @property
    def namespace(self) -> str:
        """The namespace the kubeconfig's context names, or ``default``."""
        self._connect()
        return self._namespace

    def _connect(self) -> Any:  # noqa: ANN401  the client ships no types
        with _LOADING:
            if self._client is None:
                self._client = self._load()
            return self._client

    def _load(self) -> Any:  # noqa: ANN401  the client ships no types
        # A third of a second to import: only once the engine already has our port.
        import yaml  # noqa: PLC0415
        from kubernetes import config as kubernetes_config  # noqa: PLC0415
        from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415

        config: Any = kubernetes_config  # only partly typed
        given = self.kubeconfig
        usual = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        is_text = given and ("\n" in given or given.lstrip().startswith("{"))
        where = "the one in the provider's configuration" if is_text else given or usual
        try:
            if is_text:
                whole = yaml.safe_load(given or "")
                kept = whole
            else:
                whole = config.kube_config.KubeConfigMerger(where).config
                kept = whole.value if whole else {}
            credentials.keep_in_memory(kept)
            contexts = {one["name"]: getattr(one, "value", one) for one in kept["contexts"]}
            chosen = contexts[self.context or kept["current-context"]]
            client = config.new_client_from_config_dict(
                whole, context=self.context, persist_config=False
            )
        except (ConfigException, yaml.YAMLError, *_NO_KUBECONFIG) as failed:
            raise UnreachableError(f"no usable kubeconfig ({where}): {failed}") from failed
        self._namespace = chosen["context"].get("namespace") or "default"
        return client

    def request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Any = None,  # noqa: ANN401  JSON is any
        content_type: str = "application/json",
    ) -> Object:
        """Send one request and return the JSON that comes back.

        Raises:
            ApiError: The API server refused.
            UnreachableError: Nobody answered.
        """
        # First, since it imports: two threads that import one package from its two ends deadlock.
        client = self._connect()
        from urllib3.exceptions import HTTPError, MaxRetryError  # noqa: PLC0415
        from urllib3.util import Timeout  # noqa: PLC0415

        host = client.configuration.host
        headers = {"Accept": "application/json", "Content-Type": content_type}
        token = client.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        try:
            answer = client.rest_client.pool_manager.request(
                method,
                f"{host}{path}" + (f"?{urlencode(query)}" if query else ""),
                headers=headers,
                body=None if body is None else json.dumps(body).encode(),
                timeout=Timeout(connect=_CONNECT_SECONDS, read=_ANSWER_SECONDS),
                retries=False,
                redirect=False,
            )
        except (HTTPError, OSError) as failed:
            why = failed.reason if isinstance(failed, MaxRetryError) else failed
            raise UnreachableError(f"cannot reach the Kubernetes API at {host}: {why}") from failed
        try:
            parsed = json.loads(answer.data or b"{}")
        except ValueError:
            parsed = {"message": answer.data[:500].decode(errors="replace").strip()}
        if answer.status == UNAUTHORIZED:  # it says no more than that, whatever the reason
            said = f"{host} refuses the kubeconfig: {_no_entry(client.configuration.cert_file)}"
            raise ApiError(answer.status, {"message": said})
        if answer.status >= 400:  # noqa: PLR2004  where HTTP's refusals begin
            raise ApiError(answer.status, parsed if isinstance(parsed, dict) else {})
        return dict(parsed)

    def kind(self, api_version: str, name: str) -> Kind:
        """Where objects of a kind are served, asked once per API version.

        Raises:
            UnknownKindError: The API server knows no such kind.
        """
        known = self._kinds.get(api_version, {})
        if name not in known:  # ask again: a definition may have come since
            prefix = "/apis" if "/" in api_version else "/api"
            try:
                served = self.request("GET", f"{prefix}/{api_version}").get("resources", [])
            except ApiError as refused:
                if refused.status != NOT_FOUND:
                    raise
                served = []
            known = {
                item["kind"]: Kind(api_version, item["kind"], item["name"], item["namespaced"])
                for item in served
                if "/" not in item["name"]  # the others are subresources
            }
            self._kinds[api_version] = known
        if name not in known:
            raise UnknownKindError(
                NOT_FOUND, {"message": f"the API server serves no kind {api_version} {name}"}
            )
        return known[name]

    def get(self, kind: Kind, *, namespace: str | None, name: str) -> Object | None:
        """The object, or None where there is none."""
        try:
            return self.request("GET", kind.url(namespace=namespace, name=name))
        except ApiError as refused:
            if refused.status == NOT_FOUND:
                return None
            raise

    def find(self, kind: Kind, *, namespace: str | None, labels: str) -> list[Object]:
        """All objects of a namespace that a label selector chooses."""
        query = {"labelSelector": labels}
        answer = self.request("GET", kind.url(namespace=namespace), query=query)
        return list(answer.get("items") or [])

    def apply(self, kind: Kind, wanted: Object, *, dry_run: bool = False) -> Object:
        """Create or change an object by server-side apply.

        By force: what the program declares is what shall be, whoever else has touched it.
        """
        meta = wanted["metadata"]
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        return self.request(
            "PATCH",
            kind.url(namespace=meta.get("namespace"), name=meta["name"]),
            query=query | ({"dryRun": "All"} if dry_run else {}),
            body=wanted,  # JSON is YAML
            content_type="application/apply-patch+yaml",
        )

    def overwrite(
        self, kind: Kind, wanted: Object, fields: Object, *, dry_run: bool = False
    ) -> Object:
        """Set fields to just what ``fields`` holds, also what others have put into their lists."""
        meta = wanted["metadata"]
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return self.request(
            "PATCH",
            kind.url(namespace=meta.get("namespace"), name=meta["name"]),
            query=query | ({"dryRun": "All"} if dry_run else {}),
            body=fields,
            content_type="application/merge-patch+json",
        )

    def try_create(self, kind: Kind, wanted: Object) -> None:
        """Ask whether the object could be created, without creating it."""
        self.request(
            "POST",
            kind.url(namespace=wanted["metadata"].get("namespace")),
            query={"fieldManager": FIELD_MANAGER, "dryRun": "All", "fieldValidation": "Strict"},
            body=wanted,
        )

    def delete(self, kind: Kind, *, namespace: str | None, name: str, uid: str | None) -> None:
        """Ask for an object's end, and for that of what it owns first."""
        options: Object = {"propagationPolicy": "Foreground"}
        if uid:
            options["preconditions"] = {"uid": uid}
        self.request("DELETE", kind.url(namespace=namespace, name=name), body=options)


def _no_entry(certificate: str | None) -> str:
    """Why a client is not let in, as far as its certificate tells."""
    if not certificate:
        return "its token is unknown, or has expired"
    from cryptography import x509  # noqa: PLC0415  nobody needs it who is let in

    end = x509.load_pem_x509_certificate(Path(certificate).read_bytes()).not_valid_after_utc
    if end > datetime.now(UTC):
        return "its certificate is not of this cluster"
    return f"its certificate has expired, it was good until {end:%Y-%m-%d %H:%M} UTC"
