"""Join the other ranks as every command does; print on rank 0 which ranks there are, and what error each raises."""

from bistil_ds.distributed import startup
from bistil_ds.distributed.agreement import ask_rank_0


def fail() -> None:
    raise OSError("disk full")


startup.prepare_environment(use_deepspeed=False)
startup.start_distributed(use_deepspeed=False)
ranks = startup.from_every_rank(startup.rank())
try:
    ask_rank_0(fail)
except Exception as error:
    said = startup.from_every_rank(f"{type(error).__name__}: {error}")
if startup.rank() == 0:
    print("ranks", ranks, said)
startup.stop_distributed()
