"""FLOP formulas of the KL of logits, which has no matrix products."""

from __future__ import annotations

from bistil_kernels.runtime.flops import no_products

FORMULAS = {"distillation_kl": no_products, "distillation_kl_gradient": no_products}
