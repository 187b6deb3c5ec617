"""Rate limits: how many requests a tenant may make, counted in Redis over all API processes.

They protect tenants from each other, so while Redis does not answer nothing is counted and nobody is refused.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import ServiceSettings
from service.store.access import OFF, TenantRecord

_log = logging.getLogger(__name__)

Kind = Literal["requests", "creating"]
"""Requests that create something are counted apart from all others."""

PATIENCE_S = 0.5
PAUSE_S = 5.0
"""After a failure nothing is counted for so long: requests are not to wait for a Redis that is away."""
MAX_CONNECTIONS = 32
STATE = "rate_limit_headers"
"""Where a request keeps the headers that its answer gets."""


@dataclass(frozen=True)
class Reading:
    """What the count says after a request."""

    kind: Kind
    quota: int
    window_s: int
    allowed: bool
    remaining: int
    reset_s: int
    """Seconds after which more is allowed again."""

    @property
    def headers(self) -> dict[str, str]:
        """In the syntax of draft-ietf-httpapi-ratelimit-headers."""
        return {
            "RateLimit-Policy": f'"{self.kind}";q={self.quota};w={self.window_s}',
            "RateLimit": f'"{self.kind}";r={self.remaining};t={self.reset_s}',
        }


class Limiter:
    """Counts requests in a sliding window."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._defaults: Mapping[Kind, str] = {
            "requests": settings.rate_limit,
            "creating": settings.create_rate_limit,
        }
        self._pool = BlockingConnectionPool.from_url(
            settings.redis_url,
            max_connections=MAX_CONNECTIONS,
            timeout=PATIENCE_S,
            socket_connect_timeout=PATIENCE_S,
            socket_timeout=PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
        )
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="flawsmith:limits",
            connection_pool=self._pool,  # type: ignore[arg-type]
        )
        self._counter = SlidingWindowCounterRateLimiter(storage)
        self._resume_at = 0.0

    async def close(self) -> None:
        await self._pool.disconnect()

    async def count(self, tenant: TenantRecord, kind: Kind) -> Reading | None:
        """Count a request of ``tenant``; None if there is no limit, or Redis does not answer."""
        own = tenant.rate_limit if kind == "requests" else tenant.create_rate_limit
        limit = own or self._defaults[kind]
        if limit == OFF or time.monotonic() < self._resume_at:
            return None
        item = parse(limit)
        try:
            return await self._read(item, tenant.tenant, kind)
        except (RedisError, OSError) as error:
            self._resume_at = time.monotonic() + PAUSE_S
            _log.warning("rate limits are off for %g s, for Redis does not answer: %s", PAUSE_S, error)
            return None

    async def _read(self, item: RateLimitItem, tenant: str, kind: Kind) -> Reading:
        allowed = await self._counter.hit(item, tenant, kind)
        stats = await self._counter.get_window_stats(item, tenant, kind)
        return Reading(
            kind=kind,
            quota=item.amount,
            window_s=item.get_expiry(),
            allowed=allowed,
            remaining=stats.remaining if allowed else 0,
            reset_s=max(1, math.ceil(stats.reset_time - time.time())),
        )


class RateLimitHeaders:
    """ASGI middleware: gives every answer the headers that were found for its request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(state.get(STATE, {}))
            await send(message)

        await self._app(scope, receive, send_with_headers)
