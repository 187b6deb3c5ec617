"""What both clients know of the other end: its address, how long to wait for it, how often to try."""

from __future__ import annotations

import ipaddress
import os
import warnings
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

import flawsmith
from flawsmith.client import calls, environment
from flawsmith.client.calls import CONNECT_TIMEOUT_S, Call
from flawsmith.client.errors import InsecureAddressWarning, InvalidParameterError, ServiceUnreachableError
from flawsmith.client.retries import Retries
from flawsmith.contract.access import PREFIX, parse_key

C = TypeVar("C", httpx.Client, httpx.AsyncClient)
T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"
API_KEY_VARIABLE = "FLAWSMITH_API_KEY"


@dataclass(frozen=True)
class Connection:
    """Address and patience; the sync and the async client differ only in who sleeps."""

    url: str = DEFAULT_URL
    timeout: float = 60.0
    retries: Retries = field(default_factory=Retries)
    api_key: str | None = field(default=None, repr=False)
    """None: the one in the environment, if any; empty: none at all."""

    def __post_init__(self) -> None:
        """Refuse an address or a key that cannot be one.

        Raises:
            InvalidParameterError: the URL is not http(s) or names no host, or the key is mistyped.
        """
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise InvalidParameterError(f"{self.url!r} is not a URL ({error})") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise InvalidParameterError(f"{self.url!r} is not an address; give one like {DEFAULT_URL}")
        if self._key and parse_key(self._key) is None:
            raise InvalidParameterError(
                f"the API key (api_key, or {API_KEY_VARIABLE}) is mistyped or cut off; "
                f"copy it again, whole, from {PREFIX} on"
            )
        if self._key and url.scheme == "http" and not _is_loopback(url.host):
            warnings.warn(
                f"the API key goes over the network in clear text to {self.url}; use https",
                InsecureAddressWarning,
                stacklevel=4,
            )

    @property
    def _key(self) -> str:
        given = os.environ.get(API_KEY_VARIABLE, "") if self.api_key is None else self.api_key
        return given.strip()

    @property
    def connect_timeout(self) -> float:
        return min(self.timeout, CONNECT_TIMEOUT_S)

    def open(self, kind: type[C]) -> C:
        """An httpx client of ``kind`` for this address.

        Raises:
            InvalidParameterError: a variable of the environment, for a proxy or certificates, cannot be used.
        """
        arguments = self.client_arguments()
        try:
            return kind(**arguments)
        except environment.UNUSABLE as error:
            raise environment.error_of(error) from error

    def client_arguments(self) -> dict[str, Any]:
        """For the constructor of either httpx client."""
        return {
            "base_url": self.url,
            "timeout": httpx.Timeout(self.timeout, connect=self.connect_timeout),
            "headers": {
                "User-Agent": f"flawsmith/{flawsmith.__version__}",
                **({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            },
            # A proxy from the environment cannot know this computer's own loopback address.
            "trust_env": not _is_loopback(httpx.URL(self.url).host),
        }

    def result(self, call: Call[T], outcome: httpx.Response | httpx.RequestError) -> T:
        """What ``call`` came to in the end.

        Raises:
            ServiceUnreachableError: no answer came.
            FlawsmithError: the service refused.
        """
        if isinstance(outcome, httpx.RequestError):
            raise ServiceUnreachableError(self.url, outcome) from outcome
        return calls.result(call, outcome)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
