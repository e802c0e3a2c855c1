"""Energy of MMTs, their students and other small models: joules a sentence, from counters, idle power subtracted."""

from __future__ import annotations

from bistil_ds.benchmarking.energy.flags import main

if __name__ == "__main__":
    raise SystemExit(main())
