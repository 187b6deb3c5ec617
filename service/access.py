"""Who asks, whether they may, and how often: dependencies that run before anything of a request's body is read."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Security, params
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from flawsmith.contract import problems
from flawsmith.contract.access import Scope, parse_key
from flawsmith.contract.base import now
from flawsmith.contract.ids import DEFAULT_TENANT
from service.keyring import Entry, KeyRing
from service.limits import STATE, Limiter
from service.listening import is_loopback
from service.origins import refuse_foreign
from service.problems import ProblemError
from service.settings import ServiceSettings
from service.store.access import AccessRegistry, KeyHasher, KeySecretError, TenantRecord
from service.store.storage import Storage
from service.telemetry import context

_log = logging.getLogger(__name__)

REALM = 'Bearer realm="flawsmith"'
CREATED = (201, 202)
"""What an operation answers that is counted as creating."""
_TYPES = "/v1/defect-types"

SCHEME = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="fsk_…",
    description="An API key, made by `flawsmith keys create`. A service without keys listens on the loopback "
    "address only and asks for none.",
    auto_error=False,
)


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    tenant: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    """None on a service without keys."""
    max_open_jobs: int | None = None
    """How many unfinished jobs the tenant may have; None for any number."""


ANYBODY = Caller(DEFAULT_TENANT, frozenset(Scope))
"""Without keys whoever reaches the service from this computer may do everything."""


class Gate:
    """Decides who is let in."""

    def __init__(self, settings: ServiceSettings, storage: Storage) -> None:
        self._settings = settings
        self._keys = KeyRing(AccessRegistry(storage))
        self._limiter = Limiter(settings)
        self._open_to_anybody = is_loopback(settings.host)

    async def aclose(self) -> None:
        await self._limiter.close()

    async def admit(self, request: Request, token: str | None) -> Caller:
        """The sender of ``request``, whose ``token`` this is.

        Raises:
            ProblemError: the key is not valid, or its tenant has made too many requests; or there are no keys, and
                a web page of another site sent it.
            StorageUnavailableError: it cannot be told.
        """
        if not await self._keys.in_use():
            if self._open_to_anybody:
                refuse_foreign(request.headers, self._settings.host)
                return ANYBODY
            raise _unauthenticated("no API key was made yet; make one with `flawsmith keys create`")
        entry = await self._authenticate(token)
        await self._count(request, entry.tenant)
        return Caller(
            tenant=entry.key.tenant,
            scopes=frozenset(entry.key.scopes),
            key_id=entry.key.key_id,
            max_open_jobs=entry.tenant.max_open_jobs or self._settings.max_open_jobs,
        )

    async def _authenticate(self, token: str | None) -> Entry:
        if token is None:
            raise _unauthenticated("an API key is needed; send it as `Authorization: Bearer fsk_…`")
        key = parse_key(token)
        if key is None:
            raise _unauthenticated("this is no API key; check it for typing errors", "invalid_token")
        try:
            hasher = KeyHasher(self._settings.key_secret)
        except KeySecretError as error:
            _log.error("nobody can be let in: %s", error)
            raise ProblemError(
                problems.UNAVAILABLE, "API keys cannot be checked; the service's log has the remedy"
            ) from error
        entry = await self._keys.find(key.id)
        # A stranger is not told whether there is such a key; who has the whole of it may know why it is refused.
        if entry is None or not hasher.matches(key, entry.key):
            raise _unauthenticated("this API key is not known here; ask for a new one", "invalid_token")
        status = entry.key.status(now())
        if status != "active":
            raise _unauthenticated(f"this API key is {status}; ask for a new one", "invalid_token")
        return entry

    async def _count(self, request: Request, tenant: TenantRecord) -> None:
        creating = getattr(request.scope.get("route"), "status_code", None) in CREATED
        reading = await self._limiter.count(tenant, "creating" if creating else "requests")
        if reading is None:
            return
        setattr(request.state, STATE, reading.headers)
        if not reading.allowed:
            what = "requests that create something" if creating else "requests"
            raise ProblemError(
                problems.RATE_LIMITED,
                f"{reading.quota} {what} in {reading.window_s} s are allowed; try again in {reading.reset_s} s",
                headers={"Retry-After": str(reading.reset_s)},
            )


async def authenticate(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(SCHEME)]
) -> Caller:
    """A dependency: who sends this request.

    Raises:
        ProblemError: nobody who is let in.
    """
    gate: Gate = request.app.state.resources.gate
    sent_once = len(request.headers.getlist("authorization")) == 1
    caller = await gate.admit(request, credentials.credentials if credentials and sent_once else None)
    context.bind(tenant=caller.tenant)
    return caller


Authenticated = Annotated[Caller, Depends(authenticate)]


def require(scope: Scope) -> params.Security:
    """For the ``dependencies`` of a route or router: a caller whose key has ``scope``."""

    async def check(caller: Authenticated) -> Caller:
        return _with(caller, scope)

    security: params.Security = Security(check, scopes=[scope.value])  # the scopes are for the document
    return security


async def permit(request: Request, caller: Authenticated) -> Caller:
    """A dependency: a caller who may do what the request's method does where it is sent.

    Raises:
        ProblemError: the key's scopes do not allow it.
    """
    return _with(caller, scope_of(request.method, request.scope["route"].path))


def scope_of(method: str, path: str) -> Scope:
    """The scope that a method needs at a route's path, unless the route requires another."""
    if method.upper() in ("GET", "HEAD"):
        return Scope.READ
    return Scope.TRAIN if path.startswith(_TYPES) else Scope.GENERATE


async def tenant(caller: Authenticated) -> str:
    """A dependency: whose data this request may see."""
    return caller.tenant


async def quota(caller: Authenticated) -> int | None:
    """A dependency: how many unfinished jobs the caller's tenant may have; None for any number."""
    return caller.max_open_jobs


def _with(caller: Caller, scope: Scope) -> Caller:
    if scope not in caller.scopes:
        raise ProblemError(
            problems.FORBIDDEN,
            f"this needs an API key with the scope {scope}; yours has {', '.join(sorted(caller.scopes))}",
            headers={"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope}"'},
        )
    return caller


def _unauthenticated(detail: str, error: str | None = None) -> ProblemError:
    challenge = f'{REALM}, error="{error}"' if error else REALM
    return ProblemError(problems.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": challenge})
