"""A real server on a real socket, and a client that holds every answer against the OpenAPI document."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx

from service.app import create_app
from service.server import create_server
from service.settings import ServiceSettings


@contextmanager
def serving(settings: ServiceSettings) -> Iterator[str]:
    """The API on a free port while the block runs; its address."""
    server = create_server(settings, port=0, log_level="error")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the API did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@cache
def openapi_document() -> dict[str, Any]:
    return create_app(ServiceSettings()).openapi()


@contextmanager
def client_of(address: str) -> Iterator[httpx.Client]:
    """A client; each of its answers must be one that the OpenAPI document knows."""
    document = openapi_document()

    def check(response: httpx.Response) -> None:
        response.read()
        check_answer(document, response)

    with httpx.Client(base_url=address, timeout=60, event_hooks={"response": [check]}) as client:
        yield client


def check_answer(document: dict[str, Any], response: httpx.Response) -> None:
    """Assert that ``response`` is documented for its path, method and status, and fits its schema."""
    operation = _operation(document, response.request)
    media_type = response.headers.get("content-type", "").split(";")[0]
    if operation is None:
        assert response.status_code in (404, 405)
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    else:
        documented = operation["responses"].get(str(response.status_code))
        assert documented is not None, f"{response.request.url.path}: {response.status_code} is not documented"
        documented = _resolved(document, documented)
        content = documented.get("content", {})
        for name, header in documented.get("headers", {}).items():
            assert name in response.headers or not _resolved(document, header).get("required", False)
    if not content:
        assert response.content == b""
        return
    assert media_type in content
    if media_type.endswith("json"):
        check_value(document, content[media_type]["schema"], response.json())


def check_value(document: dict[str, Any], schema: dict[str, Any], value: object, at: str = "$") -> None:
    """Assert that ``value`` fits ``schema``: the part of JSON Schema that the document uses."""
    schema = _resolved(document, schema)
    if "anyOf" in schema:
        assert any(_fits(document, choice, value) for choice in schema["anyOf"]), f"{at}: {value!r}"
        return
    if "enum" in schema:
        assert value in schema["enum"], at
    if "const" in schema:
        assert value == schema["const"], at
    match schema.get("type"):
        case "object":
            assert isinstance(value, dict), at
            properties = schema.get("properties", {})
            assert set(schema.get("required", [])) <= set(value), at
            patterns = schema.get("patternProperties", {})
            for name, child in value.items():
                matching = [patterns[pattern] for pattern in patterns if re.search(pattern, name)]
                if name in properties:
                    check_value(document, properties[name], child, f"{at}.{name}")
                elif matching:
                    check_value(document, matching[0], child, f"{at}.{name}")
                else:
                    assert schema.get("additionalProperties") not in (None, False), f"{at}.{name} is unknown"
        case "array":
            assert isinstance(value, list), at
            for index, child in enumerate(value):
                prefix = schema.get("prefixItems")
                check_value(document, prefix[index] if prefix else schema["items"], child, f"{at}[{index}]")
        case "string":
            assert isinstance(value, str), at
            assert re.search(schema.get("pattern", ""), value), at
        case "integer":
            assert isinstance(value, int), at
            assert not isinstance(value, bool), at
        case "number":
            assert isinstance(value, int | float), at
            assert not isinstance(value, bool), at
        case "boolean":
            assert isinstance(value, bool), at
        case "null":
            assert value is None, at
        case kind:
            assert kind is None, f"{at}: unknown type {kind}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value), at
        assert "exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"], at


def _fits(document: dict[str, Any], schema: dict[str, Any], value: object) -> bool:
    try:
        check_value(document, schema, value)
    except AssertionError:
        return False
    return True


def _operation(document: dict[str, Any], request: httpx.Request) -> dict[str, Any] | None:
    for template, path in document["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), request.url.path):
            operation: dict[str, Any] | None = path.get(request.method.lower())
            if operation is not None:
                return operation
    return None


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        found: Any = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        schema = found
    return schema
