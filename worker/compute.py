"""The compute worker: RQ's simple worker, made to survive what it meets.

The forking worker breaks CUDA; the simple one sends no heartbeat while it works, quits when Redis goes away, and
lets a shard run to its end before it stops. What differs here is only that.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from rq import SimpleWorker, worker_registration
from rq.exceptions import DequeueTimeout
from rq.executions import Execution
from rq.job import Job as QueueJob
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from service.store.connection import UNREACHABLE
from service.store.queue import ShardQueue, shard_queue
from worker.settings import WorkerSettings
from worker.shards import ShardTakenError

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

_log = logging.getLogger(__name__)

DEQUEUE_S = 1
"""How long one wait for a shard takes; between waits the worker looks whether it is to stop."""
_RECONNECT_S = 1.0


class ComputeWorker(SimpleWorker):
    """Takes shards off the queue until it is asked to stop.

    Raises:
        redis.exceptions.ConnectionError: Redis does not answer yet.
    """

    queue_class = ShardQueue

    def __init__(self, redis: Redis, settings: WorkerSettings) -> None:
        self._settings = settings
        queue = shard_queue(redis)
        queue.grace_s = settings.worker_ttl_s
        super().__init__(
            [queue],
            connection=redis,
            worker_ttl=settings.worker_ttl_s,
            maintenance_interval=settings.maintenance_interval_s,
            serializer=JSONSerializer,
        )

    def stopping(self) -> bool:
        """Whether the worker is to stop."""
        return self._stop_requested

    def stop(self) -> None:
        """Stop at the next denoising step; the shard at work goes back to the queue."""
        self._stop_requested = True

    def run(self) -> None:
        """Register, and work until asked to stop."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        while not self._stop_requested:
            try:
                self._appear()
                if self.should_run_maintenance_tasks:
                    self.clean_registries()  # type: ignore[no-untyped-call]
                job, queue = self._next_shard()
                self.execute_job(job, queue)
            except DequeueTimeout:
                continue
            except UNREACHABLE as error:
                _log.warning("the queue does not answer; trying again: %s", error)
                time.sleep(_RECONNECT_S)
            except Exception:
                _log.exception("a fault of the worker; going on")
                time.sleep(_RECONNECT_S)
        try:
            self.register_death()  # type: ignore[no-untyped-call]
        except UNREACHABLE as error:
            _log.warning("the queue did not hear that worker %s stops: %s", self.name, error)
        _log.info("worker %s stopped", self.name)

    def execute_job(self, job: QueueJob, queue: Queue) -> None:
        """Work on a shard in this thread, while another sends heartbeats."""
        execution = self.prepare_execution(job)
        with self._heartbeats(job, execution):
            self.perform_job(job, queue, execution)
        self.set_state(WorkerStatus.IDLE)

    def _finalize_failure(
        self,
        job: QueueJob,
        queue: Queue,
        execution: Execution,
        exc_info: tuple[type[BaseException] | None, BaseException | None, TracebackType | None],
    ) -> None:
        """End a failed shard as RQ does, but leave one alone that is another worker's by now."""
        if not isinstance(exc_info[1], ShardTakenError):
            super()._finalize_failure(job, queue, execution, exc_info)
            return
        _log.warning("%s was taken over by another worker", job.description)
        with self.connection.pipeline() as pipeline:
            self.cleanup_execution(job, pipeline, execution)
            pipeline.execute()

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Be alive for `worker_ttl_s` from now, and not for the minutes that RQ adds."""
        super().heartbeat(self._settings.worker_ttl_s, pipeline)

    def get_heartbeat_ttl(self, job: QueueJob, working_time: float = 0.0) -> int:
        """How long a shard stays this worker's after a heartbeat."""
        return self._settings.worker_ttl_s

    @property
    def connection_timeout(self) -> int:
        """The least that RQ asks of the connection's timeout."""
        return ceil(self._settings.redis_timeout_s) + DEQUEUE_S

    def _next_shard(self) -> tuple[QueueJob, Queue]:
        found = self.queue_class.dequeue_any(
            self.queues,
            DEQUEUE_S,
            connection=self.connection,
            job_class=self.job_class,
            serializer=self.serializer,
            death_penalty_class=self.death_penalty_class,
        )
        if found is None:
            raise DequeueTimeout
        return found

    def _appear(self) -> None:
        """Be known as alive and idle, even to a Redis that has forgotten all."""
        if self.birth_date is None:
            self.register_birth()  # type: ignore[no-untyped-call]
            _log.info("worker %s is ready", self.name)
        with self.connection.pipeline() as pipeline:
            pipeline.hset(self.key, mapping=self.serialize())
            self.set_state(WorkerStatus.IDLE, pipeline=pipeline)
            worker_registration.register(self, pipeline)
            self.heartbeat(pipeline=pipeline)
            pipeline.execute()

    @contextmanager
    def _heartbeats(self, job: QueueJob, execution: Execution) -> Iterator[None]:
        """Keep the shard this worker's while the block runs."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self._settings.heartbeat_interval_s):
                try:
                    self.maintain_heartbeats(job, execution)
                except RedisError as error:
                    _log.warning("no heartbeat: %s", error)

        thread = threading.Thread(target=beat, name="heartbeats", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop_requested:  # asked twice: at once
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.stop()
