"""FLOP formula of sparse updates, which have no matrix products."""

from __future__ import annotations

from bistil_kernels.runtime.flops import no_products

FORMULAS = {"write_deltas": no_products}
