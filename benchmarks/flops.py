"""Operations of MMTs, their students and other small models: a forward pass, and a phase-1 step with our losses."""

from __future__ import annotations

from bistil_ds.benchmarking.flops.flags import main

if __name__ == "__main__":
    raise SystemExit(main())
