"""The compute worker: RQ's simple worker, made to survive what it meets, and to work on several shards at once.

The forking worker breaks CUDA; the simple one sends no heartbeat while it works, quits when Redis goes away, lets
a shard run to its end before it stops, calls whatever it finds in the queue, and has one shard at a time. What
differs here is only that: the main thread takes shards, and each is an execution of RQ's in a thread of its own.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import ceil
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import RedisError
from rq import SimpleWorker, worker_registration
from rq.exceptions import DequeueTimeout, NoSuchJobError
from rq.executions import Execution
from rq.job import Job as QueueJob
from rq.queue import Queue
from rq.registry import FailedJobRegistry, FinishedJobRegistry
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker import WorkerStatus

from service.store.clock import redis_time
from service.store.connection import QueueUnavailableError, queue_errors
from service.store.queue import ROWS_FIELD, ShardQueue, shard_queue
from service.telemetry import catalog, context, gauges
from service.telemetry.gauges import Gauge
from service.telemetry.metrics import Metrics
from worker.company import Company
from worker.delivery import DeliveredShard, NoShardError, is_shard_id
from worker.settings import WorkerSettings
from worker.shards import ShardTakenError
from worker.time_limit import TimeLimit

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

_log = logging.getLogger(__name__)

DEQUEUE_S = 1
"""How long one wait for a shard takes; between waits the worker looks whether it is to stop."""
_LOOK_S = 0.02
"""Between two looks for a further shard, while others are at work."""
_RECONNECT_S = 1.0
_SIFTED = 1000  # entries of a list that one maintenance looks at


class ComputeWorker(SimpleWorker):
    """Takes shards off the queue until it is asked to stop.

    Args:
        metrics: where waits are counted.
        gauges_now: what is told with each heartbeat.
        company: the shards at work; by default as many as fit the smallest batch.
        on_idle: called after each wait that found no shard while none was at work.

    Raises:
        redis.exceptions.ConnectionError: Redis does not answer yet.
    """

    queue_class = ShardQueue
    death_penalty_class = TimeLimit

    def __init__(
        self,
        redis: Redis,
        settings: WorkerSettings,
        metrics: Metrics | None = None,
        gauges_now: Callable[[], list[Gauge]] = list,
        company: Company | None = None,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._company = company or Company()
        self._metrics = metrics or Metrics(None)
        self._gauges_now = gauges_now
        self._on_idle = on_idle
        queue = shard_queue(redis)
        queue.grace_s = settings.worker_ttl_s
        queue.job_class = DeliveredShard
        super().__init__(
            [queue],
            connection=redis,
            job_class=DeliveredShard,
            worker_ttl=settings.worker_ttl_s,
            maintenance_interval=settings.maintenance_interval_s,
            serializer=JSONSerializer,
        )

    def stopping(self) -> bool:
        """Whether the worker is to stop."""
        return self._stop_requested

    def stop(self) -> None:
        """Stop at the next denoising step; the shards at work go back to the queue."""
        self._stop_requested = True

    def run(self) -> None:
        """Register, and work until asked to stop."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        while not self._stop_requested:
            try:
                with queue_errors():
                    self._appear()
                    if self.should_run_maintenance_tasks:
                        self._maintain()
                    self._take_shards()
            except QueueUnavailableError as error:
                _log.warning("%s; trying again", error)
                time.sleep(_RECONNECT_S)
            except Exception:
                _log.exception("a fault of the worker; going on")
                time.sleep(_RECONNECT_S)
        while not self._company.empty:
            self._company.wait(DEQUEUE_S)
        try:
            with queue_errors():
                self.register_death()  # type: ignore[no-untyped-call]
                gauges.withdraw(self.connection, self.name)
        except QueueUnavailableError as error:
            _log.warning("the queue did not hear that worker %s stops: %s", self.name, error)
        _log.info("worker %s stopped", self.name)

    def _take_shards(self) -> None:
        """Take shards for a while, further ones as long as there is room for them beside those at work."""
        until = time.monotonic() + DEQUEUE_S
        while not self._stop_requested and time.monotonic() < until:
            idle = self._company.empty
            if idle and self.get_state() != WorkerStatus.IDLE:
                self.set_state(WorkerStatus.IDLE)
            if idle or self._company.has_room():
                try:
                    self._start(*self._next_shard(DEQUEUE_S if idle else None))
                    continue
                except DequeueTimeout:
                    if idle:
                        self._on_idle()
            self._company.wait(0.0 if idle else _LOOK_S)

    def _start(self, job: QueueJob, queue: Queue) -> None:
        """Work on a shard in a thread of its own."""
        member = self._company.enter()

        def work() -> None:
            try:
                with self._company.working_for(member), queue_errors():
                    self.execute_job(job, queue)
            except QueueUnavailableError as error:
                _log.warning("%s", error)
            except Exception:
                _log.exception("a fault of the worker; going on")
            finally:
                self._company.leave(member)

        threading.Thread(target=work, name="shard", daemon=True).start()

    def execute_job(self, job: QueueJob, queue: Queue) -> None:
        """Work on a shard in this thread, while another sends heartbeats."""
        if job.enqueued_at is not None:
            waited = datetime.now(UTC) - job.enqueued_at
            self._metrics.observe(catalog.SHARD_WAIT, max(0.0, waited.total_seconds()))
        execution = self.prepare_execution(job)
        with context.bound(), self._heartbeats(job, execution):
            self.perform_job(job, queue, execution)

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
        try:
            found = self._gauges_now()
        except Exception as error:  # a device that is lost must not look like a dead worker
            _log.warning("the device does not tell its memory: %s", error)
            return
        if not found:
            return
        gauges.report(
            self.connection if pipeline is None else pipeline, self.name, found, self._settings.worker_ttl_s
        )

    def serialize(self) -> dict[Any, Any]:
        """What the worker says of itself, and how many rows it draws at a time."""
        return {**super().serialize(), ROWS_FIELD: self._company.rows}

    def get_heartbeat_ttl(self, job: QueueJob, working_time: float = 0.0) -> int:
        """How long a shard stays this worker's after a heartbeat."""
        return self._settings.worker_ttl_s

    @property
    def connection_timeout(self) -> int:
        """The least that RQ asks of the connection's timeout."""
        return ceil(self._settings.redis_timeout_s) + DEQUEUE_S

    def clean_registries(self) -> None:
        """RQ's maintenance, by the clock of Redis, which nothing that somebody put into its lists can hold up."""
        for queue in self.queues:
            self._sift(queue)
            if not queue.acquire_maintenance_lock():
                continue
            queue.started_job_registry.cleanup(exception_handlers=self._exc_handlers)
            for ended in (FinishedJobRegistry, FailedJobRegistry):
                ended(queue=queue, job_class=queue.job_class).cleanup()
            worker_registration.clean_worker_registry(queue)
            queue.intermediate_queue.cleanup(self, queue)
            queue.release_maintenance_lock()  # type: ignore[no-untyped-call]
        self.last_cleaned_at = now()  # type: ignore[assignment]

    def _maintain(self) -> None:
        """Bring back what dead workers left; a failure must not keep this one from working."""
        try:
            with queue_errors():
                self.clean_registries()
        except QueueUnavailableError:
            raise
        except Exception:
            _log.exception("what dead workers left could not be looked through")
            self.last_cleaned_at = now()  # type: ignore[assignment]

    def _sift(self, queue: Queue) -> None:
        """Drop what is no shard from the lists that maintenance looks at."""
        started, present = queue.started_job_registry.key, redis_time(self.connection)
        at_work = self.connection.zrange(started, 0, _SIFTED - 1, withscores=True)
        for entry, until in cast("list[tuple[bytes, float]]", at_work):
            shard_id = entry.partition(b":")[0]
            # A shard that is at work is looked at no further.
            if (until < present or not is_shard_id(shard_id)) and self._fetched(shard_id) is None:
                self.connection.zrem(started, entry)
        between = cast("list[bytes]", self.connection.lrange(queue.intermediate_queue_key, 0, _SIFTED - 1))
        for entry in between:
            if self._fetched(entry) is None:
                self.connection.lrem(queue.intermediate_queue_key, 1, cast(str, entry))

    def _next_shard(self, wait_s: int | None = DEQUEUE_S) -> tuple[QueueJob, Queue]:
        """The next shard.

        Args:
            wait_s: how long to wait for one; None is not at all.

        Raises:
            DequeueTimeout: there is none now.
        """
        (queue,) = self.queues
        while True:
            moved = self.queue_class.lmove(self.connection, queue.key, wait_s)
            if moved is None:
                raise DequeueTimeout(wait_s, queue.key)
            _, entry = moved
            shard = self._fetched(entry)
            if shard is not None:
                return shard, queue
            self.connection.lrem(queue.intermediate_queue_key, 1, entry)

    def _fetched(self, entry: bytes) -> DeliveredShard | None:
        """The shard that an entry of the queue names; None if there is none by now, or something else is there."""
        try:
            if not is_shard_id(entry):
                raise NoShardError("this is no shard's id")
            shard = DeliveredShard(entry.decode(), connection=self.connection, serializer=self.serializer)
            shard.refresh()
            return shard
        except NoSuchJobError:
            return None
        except NoShardError as error:
            _log.error("dropped from the queue: %.80r: %s", entry[:80], error)
            self.connection.unlink(b"rq:job:" + entry)
            return None

    def _appear(self) -> None:
        """Be known as alive, and as idle or not, even to a Redis that has forgotten all."""
        if self.birth_date is None:
            self.register_birth()  # type: ignore[no-untyped-call]
            _log.info("worker %s is ready", self.name)
        with self.connection.pipeline() as pipeline:
            pipeline.hset(self.key, mapping=self.serialize())
            state = WorkerStatus.IDLE if self._company.empty else WorkerStatus.BUSY
            self.set_state(state, pipeline=pipeline)
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
