"""``python -m tests.worker.teaching_worker``: a real worker with trainings and trials that learn nothing.

``TEACHING_STEPS`` is how many steps one has, ``TEACHING_STEP_S`` how long each takes.
"""

from __future__ import annotations

import logging
import os

from tests.worker.fake_teaching import School
from tests.worker.fake_trial import Bench
from worker.__main__ import main

if __name__ == "__main__":
    steps, step_s = int(os.environ["TEACHING_STEPS"]), float(os.environ["TEACHING_STEP_S"])
    status = main(School(steps, step_s).teach, Bench(steps, step_s).begin)
    logging.shutdown()
    os._exit(status)
