"""``python -m service.alive``: exit status 0 if the API on this computer answers; for health checks.

It asks the process alone. Whether queue, storage and workers are there too says ``/readyz``: their absence is no
reason to start the API again.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException

_PATIENCE_S = 4.0


def answers(port: int) -> bool:
    """Whether ``/healthz`` on ``port`` of this computer says that it is well."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    # The settings are not loaded for this one number: the check runs every few seconds.
    sys.exit(0 if answers(int(os.environ.get("FLAWSMITH_PORT") or 8080)) else 1)
