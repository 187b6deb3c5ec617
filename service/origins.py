"""Where a request comes from: without API keys nothing is served that a foreign web page makes a browser send.

The browser of whoever runs the service reaches the loopback address on behalf of any page. It sends forms of other
sites without asking; and a site whose name is made to mean the loopback address (DNS rebinding) reads the answers,
for to the browser it is the same site still. The name then stands in ``Host``.
"""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers

from flawsmith.contract import problems
from service.problems import ProblemError

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::\d*)?", re.IGNORECASE)
"""A name or an address, with or without a port."""


def refuse_foreign(headers: Headers, listens_on: str) -> None:
    """Let in what programs and the service's own pages send.

    Args:
        listens_on: the loopback address, or the name of it that the settings give, which is as good as its own.

    Raises:
        ProblemError: the request names another host, or comes from a page of another one.
    """
    host, origin = headers.get("host"), headers.get("origin")
    if host is not None and not _is_here(host, listens_on):
        raise _foreign("under a loopback address or localhost, and under no other name")
    if headers.get("sec-fetch-site") == "cross-site" or (origin is not None and not _is_of(origin, host)):
        raise _foreign("and to no web page of another site")


def _is_here(host: str, listens_on: str) -> bool:
    """Whether a ``Host`` means this computer whatever names resolve to."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = (found[1] or found[2]).lower()
    if name in ("localhost", listens_on.lower()):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_of(origin: str, host: str | None) -> bool:
    return host is not None and origin.partition("://")[2].lower() == host.lower()


def _foreign(where: str) -> ProblemError:
    return ProblemError(
        problems.FOREIGN_REQUEST,
        f"without API keys the service answers this computer alone, {where}; ask it there, or make a key with "
        "`flawsmith keys create`",
    )
