"""Join the other ranks for a second run, for which rank 0 prepares longer than the group's timeout."""

import time
from datetime import timedelta

from bistil_ds.distributed import startup

TIMEOUT = timedelta(seconds=3)

startup.start_distributed(use_deepspeed=False, timeout=TIMEOUT)
startup.wait_for_every_rank()
if startup.rank() == 0:
    time.sleep(2 * TIMEOUT.total_seconds())
startup.start_distributed(use_deepspeed=False, timeout=TIMEOUT)
ranks = startup.from_every_rank(startup.rank())
if startup.rank() == 0:
    print(f"second run began on {len(ranks)} ranks")
startup.stop_distributed()
