"""Join the other ranks as every command does, and print on rank 0 which ranks there are."""

from bistil_ds.distributed import startup

startup.prepare_environment(use_deepspeed=False)
startup.start_distributed(use_deepspeed=False)
ranks = startup.from_every_rank(startup.rank())
if startup.rank() == 0:
    print("ranks", ranks)
startup.stop_distributed()
