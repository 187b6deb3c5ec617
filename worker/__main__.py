"""``python -m worker``: a compute worker."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from functools import partial

from transformers.utils.logging import disable_progress_bar

from models.adapters import AdapterError
from models.folders import BackboneError
from service.store.connection import QueueUnavailableError, connect_redis, queue_errors
from service.store.identity import Identity
from service.store.jobs import Jobs
from service.store.opening import open_storage
from service.store.registry import Registry
from service.store.storage import Storage, StorageUnavailableError
from service.telemetry import logs, traces
from service.telemetry.jobs import count_final
from service.telemetry.metrics import Metrics
from worker import shards
from worker.allocator import keep_freed
from worker.company import Company
from worker.compute import DEQUEUE_S, ComputeWorker
from worker.device import DeviceError
from worker.engine import SWITCH_S, engine_thread
from worker.evaluations import BeginTrial, Evaluations
from worker.memory import device_memory
from worker.models import Models, is_out_of_memory
from worker.settings import WorkerSettings
from worker.shards import Shards
from worker.slices import Memory
from worker.teaching import teaching_with
from worker.trainings import Teach, Trainings
from worker.trial import begin_trial

_log = logging.getLogger("worker")

_RETRY_S = 2.0
_CONFIRMED_S = 10.0


def main(teach: Teach | None = None, begin: BeginTrial = begin_trial) -> int:
    """Load the models, then work until asked to stop; the exit status, 1 if they cannot be loaded.

    Args:
        teach: begins a training, in place of what the models teach.
        begin: begins the trial of an evaluation.
    """
    settings = WorkerSettings()
    logs.configure("worker", settings)
    traces.configure("worker")
    sys.setswitchinterval(SWITCH_S)
    keep_freed()
    disable_progress_bar()  # type: ignore[no-untyped-call]
    for number in (signal.SIGTERM, signal.SIGINT):
        # Until the worker hears signals itself. Without a handler the first process of a container hears none.
        signal.signal(number, lambda number, frame: os._exit(128 + number))
    storage = open_storage(settings)
    thread = engine_thread()
    try:
        models = thread.submit(_ready_models, settings, storage).result()
    except (DeviceError, BackboneError, AdapterError) as error:
        _log.error("the worker cannot start: %s", error)
        return 1
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _log.error("the worker cannot start: there is not memory enough for its backbone: %s", error)
        return 1
    gc.freeze()  # what is loaded now stays: to look through it for garbage takes half a second each time
    redis = connect_redis(settings, blocking_s=DEQUEUE_S)
    _publish(models, storage, Identity(redis, storage))
    metrics = Metrics(connect_redis(settings))
    metrics.start()
    company = Company(lambda: models.batch_shape, models.lanes)
    memory = Memory()

    def on_idle() -> None:
        at_work.when_idle(partial(models.rest, also=memory.clear))

    while True:
        try:
            gauges_now = partial(device_memory, models.device)
            with queue_errors():
                worker = ComputeWorker(redis, settings, metrics, gauges_now, company, on_idle)
        except QueueUnavailableError as error:
            _log.warning("%s; trying again", error)
            time.sleep(_RETRY_S)
        else:
            break
    device_lost = False

    def on_device_lost() -> None:
        nonlocal device_lost
        device_lost = True
        worker.stop()

    jobs = Jobs(redis, storage, settings, on_final=partial(count_final, metrics))
    slice_s = settings.training_slice_s
    trainings = Trainings(jobs, storage, models, teach or teaching_with(models), slice_s, memory)
    evaluations = Evaluations(jobs, storage, models, begin, slice_s, memory)
    at_work = Shards(
        jobs, storage, models, worker.stopping, on_device_lost, metrics, trainings, evaluations, company, thread
    )
    shards.install(at_work)
    worker.run()
    metrics.close()
    traces.close()
    if device_lost:
        _log.error("the device failed; a new process is needed")
    return 1 if device_lost else 0


def _ready_models(settings: WorkerSettings, storage: Storage) -> Models:
    models = Models(settings, storage)
    models.warm_up()
    return models


def _publish(models: Models, storage: Storage, identity: Identity) -> None:
    """Make the bundled defect types known, as soon as the storage that the queue belongs to answers."""
    registry = Registry(storage)
    for record in models.bundled_types():
        while True:
            try:
                identity.confirm(_CONFIRMED_S)
                registry.publish(record, replace=True)
            except StorageUnavailableError as error:
                _log.warning("storage does not answer; trying again: %s", error)
                time.sleep(_RETRY_S)
            except QueueUnavailableError as error:
                _log.warning("the queue does not answer; trying again: %s", error)
                time.sleep(_RETRY_S)
            else:
                break


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    # Nothing is left to be done, and to take the interpreter and its models apart takes seconds.
    os._exit(status)
