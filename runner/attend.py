"""``python -m runner.attend JOB``: drives one job to its end in a process of its own. Settings come from the environment.

Started by ``Runner.attend``; what it says goes to runner.log in the run directory.
"""

from __future__ import annotations

import logging
import sys

from runner.service import Runner
from runner.settings import load_settings

# The process that handed the job over may need a moment to let go of it.
_HANDOVER_S = 30.0


def main(job_id: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with Runner.open(load_settings()) as runner:
        runner.run(job_id, wait_for_lock_s=_HANDOVER_S)


if __name__ == "__main__":
    main(sys.argv[1])
