"""FLOP formulas of `gather_at` and `swap_in`, which have no matrix products."""

from __future__ import annotations

from bistil_kernels.runtime.flops import no_products

FORMULAS = {"gather_at": no_products, "swap_in": no_products}
