"""``python -m tests.worker.teaching_worker``: a real worker with trainings that learn nothing.

``TEACHING_STEPS`` is how many steps a training has, ``TEACHING_STEP_S`` how long each takes.
"""

from __future__ import annotations

import logging
import os

from tests.worker.fake_teaching import School
from worker.__main__ import main

if __name__ == "__main__":
    school = School(int(os.environ["TEACHING_STEPS"]), float(os.environ["TEACHING_STEP_S"]))
    status = main(school.teach)
    logging.shutdown()
    os._exit(status)
