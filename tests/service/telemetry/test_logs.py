"""Log lines of a process: whole, true, and none that a client wrote."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SETTINGS = "StoreSettings(log_format={!r}, log_level={!r})"
PROGRAM = """
import logging, threading, warnings
from service.store.settings import StoreSettings
from service.telemetry import context, logs
logs.configure("worker", {settings})
log = logging.getLogger("service.trial")
{body}
"""


def run(body: str, log_format: str | None = "json", level: str = "info") -> list[str]:
    """Lines that a process writes which does ``body``."""
    program = PROGRAM.format(settings=SETTINGS.format(log_format, level), body=body)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert done.stdout == b""
    return done.stderr.decode().splitlines()


def run_json(body: str, level: str = "info") -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(body, "json", level)]


def test_a_line_says_when_who_and_what_about() -> None:
    (line,) = run_json(
        "context.bind(job_id='job_1', request_id='r-1', shard=0)\n"
        "log.info('drawn in %d s', 3, extra={'status': 200})"
    )

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "info",
        "logger": "service.trial",
        "message": "drawn in 3 s",
        "role": "worker",
        "request_id": "r-1",
        "job_id": "job_1",
        "shard": 0,
        "status": 200,
    }


def test_what_is_bound_ends_with_its_block() -> None:
    first, second, third = run_json(
        "with context.bound(job_id='job_1'):\n"
        "    with context.bound(item=3):\n"
        "        context.bind(request_id='r', job_id=None); log.info('')\n"
        "    log.info('')\n"
        "log.info('')"
    )

    assert (first["request_id"], first["item"], first.get("job_id")) == ("r", 3, None)
    assert (second["job_id"], second.get("item"), second.get("request_id")) == ("job_1", None, None)
    assert "job_id" not in third


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_line_can_be_forged(log_format: str) -> None:
    forged = "x\\n2026-01-01T00:00:00.000Z CRITICAL service: forged\\r\\x1b[2J\\u2028\\x85y"
    lines = run(
        f"""
log.info("%s", "{forged}")
context.bind(tenant="{forged}")
try:
    raise ValueError("{forged}")
except ValueError:
    log.exception("%s", "{forged}")
""",
        log_format,
    )

    text = "\n".join(lines)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", text)
    assert not any(line.startswith("2026-01-01") for line in lines)
    if log_format == "json":
        assert len([json.loads(line) for line in lines]) == 2
    else:
        assert len([line for line in lines if not line.startswith("    ")]) == 2


def test_an_exception_is_part_of_its_line() -> None:
    (line,) = run_json("try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('no')")

    assert line["message"] == "no"
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_what_ends_a_process_or_a_thread_is_a_line() -> None:
    thread, process = run_json(
        "thread = threading.Thread(target=lambda: 1 / 0, name='counting')\n"
        "thread.start(); thread.join()\n"
        "raise ValueError('lost')"
    )

    assert (thread["level"], thread["message"]) == ("error", "thread counting ends: division by zero")
    assert (process["level"], process["message"]) == ("critical", "the process ends: lost")
    assert "ValueError: lost" in process["exception"]


def test_warnings_are_lines() -> None:
    (line,) = run_json("warnings.warn('old')")

    assert (line["logger"], line["level"]) == ("py.warnings", "warning")


def test_libraries_that_log_headers_stay_quiet_at_debug() -> None:
    lines = run_json(
        "for name in ('botocore.auth', 'urllib3.connectionpool', 'python_multipart.multipart', 'rq.worker'):\n"
        "    logging.getLogger(name).debug('Authorization: secret')\n"
        "log.debug('ours')",
        level="debug",
    )

    assert [line["message"] for line in lines] == ["ours"]


def test_the_level_holds() -> None:
    assert [line["message"] for line in run_json("log.info('no')\nlog.warning('yes')", "warning")] == ["yes"]


def test_away_from_a_terminal_lines_are_json() -> None:
    (line,) = run("log.info('x')", None)

    assert json.loads(line)["message"] == "x"


def test_text_shows_ids_behind_the_message() -> None:
    (line,) = run("context.bind(job_id='job_1', item=2)\nlog.info('drawn')", "text")

    assert line.endswith("Z INFO service.trial: drawn [job_id=job_1 item=2]")
