"""What httpx reads from the environment: proxies and certificates."""

from __future__ import annotations

import os

import httpx

from flawsmith.client.errors import InvalidParameterError

_PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY")

UNUSABLE = (ImportError, OSError, ValueError, httpx.InvalidURL)
"""What the constructor of an httpx client raises where it cannot use them."""


def error_of(cause: Exception) -> InvalidParameterError:
    """The error that names the variable for which there was ``cause``, one of `UNUSABLE`.

    Its value is not told, nor what httpx quotes of it: a proxy's may hold a password.
    """
    if isinstance(cause, OSError):
        found = _set("SSL_CERT_FILE") or _set("SSL_CERT_DIR")  # as httpx takes them
    else:
        found = [name for name in _set(*_PROXIES) if not _is_http(os.environ[name])] or _set("NO_PROXY")
    names = " and ".join(found) or "what is set up for proxies and certificates"
    why = "not an address that httpx reads" if isinstance(cause, httpx.InvalidURL) else cause
    return InvalidParameterError(f"{names} in the environment cannot be used ({why}); correct or unset it")


def _set(*names: str) -> list[str]:
    """Those of ``names`` that are set, as they are written there: in capitals or small."""
    return [name for name, value in os.environ.items() if name.upper() in names and value]


def _is_http(proxy: str) -> bool:
    try:
        return httpx.URL(proxy if "://" in proxy else f"http://{proxy}").scheme in ("http", "https")
    except httpx.InvalidURL:
        return False
