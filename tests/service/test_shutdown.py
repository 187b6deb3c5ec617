"""A server that is to stop ends what would go on for ever."""

from __future__ import annotations

import threading
import time

import httpx

from service.server import create_server
from tests.service.conftest import Api
from tests.service.test_api_jobs import accepted


def test_streams_and_waiting_answers_end_with_the_server(api: Api) -> None:
    job_id = accepted(api)
    server = create_server(api.settings, port=0, log_level="error")
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    with (
        httpx.Client(base_url=address, timeout=30) as client,
        client.stream("GET", f"/v1/jobs/{job_id}/events") as events,
    ):
        lines = events.iter_lines()
        assert next(lines) == "event: status"
        waited: list[httpx.Response] = []

        def wait() -> None:
            waited.append(httpx.get(f"{address}/v1/jobs/{job_id}", params={"wait": 60}, timeout=30))

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.3)
        server.should_exit = True
        assert any(line.startswith("data:") for line in lines)  # to its end, not cut off
        waiting.join(20)
        thread.join(20)
    assert not thread.is_alive()
    assert waited[0].json()["status"] == "queued"
