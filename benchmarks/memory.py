"""Memory of MMTs, their students and other small models: parameters, folder, load time, peaks."""

from __future__ import annotations

from bistil_ds.benchmarking.memory.flags import main

if __name__ == "__main__":
    raise SystemExit(main())
