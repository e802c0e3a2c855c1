"""A rank that joins the others the way every command does, and says who is there."""

from bistil_ds import engine

engine.prepare_environment(use_deepspeed=False)
engine.start_distributed(use_deepspeed=False)
ranks = engine.from_every_rank(engine.rank())
if engine.rank() == 0:
    print("ranks", ranks)
engine.stop_distributed()
