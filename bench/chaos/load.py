"""The load: clients that ask for augmentations, cancel and delete, and ask again when no answer comes."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from dataclasses import dataclass

import httpx
import numpy as np

from bench.chaos.ledger import TOKEN, Ledger, Submission
from service.images.canonical import CanonicalImage
from service.images.encoding import encode_mask_png, encode_png
from tests.worker.tiny_worker import TYPE, image_info, photo

_TIMEOUT_S = 6.0
_SEEDS = 3  # so few that many jobs ask for the same pixels
_STEPS = (4, 12, 30)
_TRIES = 3  # in a row; what is not answered then is asked again later
_PATIENCE_S = 20.0  # for the last answers, after the faults; longer than a dead request holds its key
_LATER = (0, 409, 429, 500, 502, 503, 504)
"""Answers after which a client asks again; 0 stands for none."""


def files() -> tuple[bytes, bytes]:
    """A normal image and a mask, as PNG."""
    pixels = photo()
    mask = np.zeros(pixels.shape, dtype=np.bool_)
    mask[20:40, 16:44] = True
    return encode_png(CanonicalImage(pixels, image_info(pixels))), encode_mask_png(mask)


@dataclass
class Client:
    """One client with habits of its own; the same seed makes the same wishes."""

    url: str
    ledger: Ledger
    random: random.Random
    stop_at: float
    image: bytes
    mask: bytes

    def run(self) -> None:
        """Ask until the time is over."""
        with httpx.Client(base_url=self.url, timeout=_TIMEOUT_S) as http:
            mine: list[Submission] = []
            unheard: list[Submission] = []
            while time.monotonic() < self.stop_at:
                choice = self.random.random()
                old = self.random.choice(mine) if mine else None
                if old is None or choice < 0.55:
                    submission = self._wish()
                    self.ledger.add(submission)
                    self._submit(http, submission)
                    mine += [submission] if submission.accepted else []
                    unheard += [submission] if submission.key and not submission.accepted else []
                elif choice < 0.7:
                    self._cancel(http, old)
                elif choice < 0.8:
                    self._delete(http, old)
                    mine.remove(old)
                elif choice < 0.9 and old.key is not None:
                    self._submit(http, old)  # again, although it was answered
                elif unheard:
                    self._submit(http, unheard[0])
                    mine += unheard[:1] if unheard[0].accepted else []
                    unheard = unheard[1:] + ([] if unheard[0].accepted else unheard[:1])
                else:
                    self._ask(http, "GET", f"/v1/jobs/{old.job_id}")
                time.sleep(self.random.uniform(0.0, 0.3))
            for wish in unheard:
                while not wish.accepted and time.monotonic() < self.stop_at + _PATIENCE_S:
                    self._submit(http, wish)

    def _wish(self) -> Submission:
        keyed = self.random.random() < 0.6
        return Submission(
            token=uuid.uuid4().hex,
            key=uuid.uuid4().hex if keyed else None,
            count=self.random.randint(1, 5),
            seed=self.random.randrange(_SEEDS),
            steps=self.random.choice(_STEPS),
        )

    def _submit(self, http: httpx.Client, wish: Submission) -> None:
        """Send a wish; one with a key some times, until it is answered."""
        form = {
            "defect_type": TYPE,
            "count": str(wish.count),
            "seed": str(wish.seed),
            "steps": str(wish.steps),
            "min_quality": "0",
            "metadata": json.dumps({TOKEN: wish.token}),
        }
        headers = {"Idempotency-Key": wish.key} if wish.key else {}
        for _ in range(_TRIES if wish.key else 1):
            wish.sent += 1
            answer = self._ask(
                http,
                "POST",
                "/v1/augmentations",
                data=form,
                files={"image": ("image.png", self.image), "mask": ("mask.png", self.mask)},
                headers=headers,
            )
            status = answer.status_code if answer is not None else 0
            if answer is not None and status == 202:
                wish.accepted.append(answer.json()["id"])
            wish.refused = status not in (0, 202)
            if status not in _LATER:
                return
            time.sleep(self.random.uniform(0.1, 0.6))

    def _cancel(self, http: httpx.Client, wish: Submission) -> None:
        answer = self._ask(http, "POST", f"/v1/jobs/{wish.job_id}/cancel")
        well = answer is not None and answer.status_code == 200
        wish.cancels.append(answer.json()["status"] if answer is not None and well else None)

    def _delete(self, http: httpx.Client, wish: Submission) -> None:
        """Cancel, then delete until it is said to be gone."""
        self._cancel(http, wish)
        while time.monotonic() < self.stop_at:
            answer = self._ask(http, "DELETE", f"/v1/jobs/{wish.job_id}")
            status = answer.status_code if answer is not None else None
            wish.deletes.append(status)
            if status in (204, 404):
                return
            time.sleep(self.random.uniform(0.1, 0.4))

    def _ask(self, http: httpx.Client, method: str, path: str, **more: object) -> httpx.Response | None:
        try:
            answer = http.request(method, path, **more)  # type: ignore[arg-type]
        except httpx.TransportError:
            self.ledger.note(0)
            return None
        self.ledger.note(answer.status_code)
        return answer


def running_clients(url: str, ledger: Ledger, seed: int, count: int, stop_at: float) -> list[threading.Thread]:
    """Start clients; they end by themselves soon after ``stop_at``."""
    image, mask = files()
    threads = []
    for number in range(count):
        client = Client(url, ledger, random.Random(seed * 1000 + number), stop_at, image, mask)
        threads.append(threading.Thread(target=client.run, name=f"client-{number}"))
        threads[-1].start()
    return threads
