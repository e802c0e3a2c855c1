"""What phase 1 needs on 1 to 1,024 GPUs: memory of each and bytes each sends, by ZeRO stage."""

from __future__ import annotations

from bistil_ds.benchmarking.scaling.flags import main

if __name__ == "__main__":
    raise SystemExit(main())
