"""Write one page of everything that was measured, or show two records side by side."""

from bistil_ds.benchmarking.report.command import main

if __name__ == "__main__":
    raise SystemExit(main())
