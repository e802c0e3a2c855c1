"""What each Triton kernel's machine code needs on sm_80 and sm_90, compiled ahead of time: no GPU is used."""

from __future__ import annotations

from bistil_ds.benchmarking.kernels.resources import main

if __name__ == "__main__":
    main()
