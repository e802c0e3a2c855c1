"""Zero-shot transfer on real data: teacher, students and baselines, by the commands a user types."""

from __future__ import annotations

from bistil_ds.benchmarking.transfer.steps import main

if __name__ == "__main__":
    main()
