"""Write ``openapi.yaml``."""

from __future__ import annotations

from service.app import create_app
from service.openapi.document import PATH, dump

if __name__ == "__main__":
    PATH.write_text(dump(create_app()), encoding="utf-8")
