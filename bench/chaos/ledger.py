"""The ledger: what clients sent and what they were told, kept outside of the service."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

TOKEN = "chaos"
"""Name of the metadata under which a submission's own mark travels with its job."""


@dataclass
class Submission:
    """One wish of a client, sent once or again and again.

    Attributes:
        token: its mark, in the job's metadata.
        key: its ``Idempotency-Key``; None: it has none, and is sent once.
        sent: times that it was sent.
        accepted: job ids that it was told with a 202.
        refused: it was last answered with a refusal, so that nothing should come of it.
        cancels: answers to cancel: the status that the job had then, or None where no answer came.
        deletes: answers to delete; None where no answer came.
    """

    token: str
    key: str | None
    count: int
    seed: int
    steps: int
    sent: int = 0
    accepted: list[str] = field(default_factory=list)
    refused: bool = False
    cancels: list[str | None] = field(default_factory=list)
    deletes: list[int | None] = field(default_factory=list)

    @property
    def job_id(self) -> str | None:
        return self.accepted[0] if self.accepted else None

    @property
    def deleted(self) -> bool:
        """The client was told, at some time, that the job is gone."""
        return 204 in self.deletes or (404 in self.deletes and None in self.deletes)

    @property
    def delete_unheard(self) -> bool:
        """A delete was sent, and its client does not know whether it was done."""
        return bool(self.deletes) and not self.deleted


@dataclass
class Ledger:
    """All submissions."""

    submissions: list[Submission] = field(default_factory=list)
    answers: dict[int, int] = field(default_factory=dict)
    """How often each status was answered; 0 stands for no answer."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, submission: Submission) -> None:
        with self._lock:
            self.submissions.append(submission)

    def note(self, status: int) -> None:
        with self._lock:
            self.answers[status] = self.answers.get(status, 0) + 1

    def accepted(self) -> list[Submission]:
        return [submission for submission in self.submissions if submission.accepted]
