"""One page of everything that was measured: Markdown, and HTML with pictures that needs no other file."""

from __future__ import annotations

from bistil_ds.benchmarking.report.command import main

if __name__ == "__main__":
    raise SystemExit(main())
