"""Forms of the attention-map kernels to compile ahead of time. A form is a choice of dtypes, sizes and constants.

A variant is what a form has of masks, windows and grouped keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bistil_kernels.runtime.machine_code import Form

Settings = Callable[..., dict[str, int]]
P = 6  # pairs, one for each layer of a six-layer student
Variant = Mapping[str, Any]  # constants of its forms; one without `mask` or `window` in it has a mask or a window
CUT: Variant = {"mask": None, "stops": None, "counted": None, "m_b": 0, "m_t": 0, "window": None}
WHOLE: Variant = {**CUT, "FULL": True}  # the tile size divides the number of tokens, as it usually does
MASKED: Variant = {"window": None}
ALL_QUERIES: Variant = {"MASK_QUERIES": False, "window": None}
SLIDING: Variant = {}
GROUPS: Variant = {"GROUP_S": 4, "GROUP_T": 2}
GROUPED: Variant = {**MASKED, **GROUPS}
CUT_SLIDING: Variant = {name: value for name, value in CUT.items() if name != "window"}
CUT_VARIANTS = {"no mask": CUT, "whole tiles": WHOLE, "window": CUT_SLIDING, "grouped keys": {**CUT, **GROUPS}}
MASKED_VARIANTS = {
    "mask and window": SLIDING,  # the first variant of a kind is the quick check's; this one needs the most registers
    "mask": MASKED,
    "all queries": ALL_QUERIES,
    "grouped keys": GROUPED,
}
KINDS: Mapping[str, tuple[str, int, Mapping[str, Variant]]] = {  # kind → dtype and width of heads, variants to compile
    "64": ("bf16", 64, CUT_VARIANTS),
    "64 small": ("bf16", 64, CUT_VARIANTS),
    "64 masked": ("bf16", 64, MASKED_VARIANTS),
    "64 masked fp16": ("fp16", 64, MASKED_VARIANTS),
    "128": ("bf16", 128, {**MASKED_VARIANTS, "no mask": CUT, "whole tiles": WHOLE}),
    "wide": ("fp16", 256, {**MASKED_VARIANTS, "no mask": CUT, "whole tiles": WHOLE}),
    "fp32": ("fp32", 128, {**MASKED_VARIANTS, "no mask": CUT, "whole tiles": WHOLE}),
}
OTHER_DTYPES = (("64", "fp16"), ("128", "fp16"), ("wide", "bf16"), ("fp32", "fp32 from bf16"))


def forms(every_form: bool = True) -> Iterator[Form]:
    """Yield the forms of the kernels.

    They have each kernel for the widest heads of each kind of input, in all variants, for both losses. Without
    `every_form`, the kernels over tiles come in one variant for each launch configuration, for "mse" only.
    """
    for kind, (dtype, width, variants) in KINDS.items():
        some = variants if every_form else dict(list(variants.items())[:1])
        for name, variant in some.items():
            yield from _of_tiles(kind, dtype, width, name, variant, every_form)
    for kind, dtype in OTHER_DTYPES if every_form else ():
        _, width, variants = KINDS[kind]
        name, variant = next(iter(variants.items()))
        yield from _of_tiles(kind, dtype, width, name, variant, False)
    yield from _of_means()


def _of_tiles(kind: str, dtype: str, width: int, name: str, variant: Variant, every_form: bool) -> Iterator[Form]:
    from bistil_kernels.attention_map import settings as module
    from bistil_kernels.attention_map import tiles

    strides = [f"{x}_{axis}" for x in ("qs", "ks", "qt", "kt") for axis in "bht"]
    student, _, teacher = dtype.partition(" from ")
    dtypes = {"s": student, "t": teacher or student}
    kept = "fp32" if student == "fp16" else student
    signature: dict[str, Any] = dict.fromkeys([*strides, "m_b", "T", "layer"], "i32:16")
    signature |= {f"{x}_{y}": (f"*{dtypes[y]}",) * P for x in ("queries", "keys") for y in "st"}
    signature |= {"stats": ("*fp32",) * P, "mask": "*i1", "stops": "*i32", "H": "i32", "window": "i32"}
    signature |= {"scale_s": "fp32", "scale_t": "fp32"}
    forward = {**signature, "gradients": (f"*{kept}",) * P, "counted": "*fp32", "partials": "*fp32"}
    forward |= {"all_of_a_head": "fp32", "upstream": "fp32"}
    backward = {**signature, "gradients": (f"*{student}",) * P, "factors": "*fp32", "upstream": "*fp32"}
    constants: dict[str, Any] = {f"{x}_d": 1 for x in ("qs", "ks", "qt", "kt")}
    constants |= {"m_t": 1, "up_p": 1, "d_s": width, "d_t": width, "MASK_QUERIES": True, "FULL": False}
    constants |= {"GROUP_S": 1, "GROUP_T": 1}

    def form(kernel: Any, types: Mapping[str, Any], of_vendor: Settings, own: Variant, words: str) -> Form:
        settings, amds = of_vendor(kind, amd=False), of_vendor(kind, amd=True)
        widths = dict.fromkeys(("WIDTH_S", "WIDTH_T"), 64 if settings["PART"] else width)
        fixed = {**constants, **widths, **variant, **own}
        return Form(kernel, f"{dtype} width {width}, {words}", types, fixed, settings, amds)

    for kl in (False, True) if every_form else (False,):
        words = f"{name}, {'kl' if kl else 'mse'}"
        tile, alone = {"KL": kl, "ONE_TILE": False}, {"KL": kl, "ONE_TILE": True}
        without = {**tile, "gradients": None, "stats": None}
        settings = module.forward_settings
        yield form(tiles.key_gradients, backward, module.backward_settings, {"KL": kl}, words)
        if kind == "64 small":  # with a gradient, this kind has few tokens: one tile holds all keys
            yield form(tiles.compare_maps, forward, settings, alone, f"{words}, one tile")
        else:
            yield form(tiles.compare_maps, forward, settings, tile, words)
        if every_form and (kind.startswith("64 masked") or kind == "128"):
            yield form(tiles.compare_maps, forward, settings, alone, f"{words}, one tile")
        if every_form and kind != "64":
            yield form(tiles.compare_maps, forward, settings, without, f"{words}, no gradient")


def _of_means() -> Iterator[Form]:
    from bistil_kernels.attention_map import launching as module
    from bistil_kernels.attention_map import means

    signature = dict.fromkeys(("programs", "T", "m_b"), "i32:16") | dict.fromkeys("BH", "i32")
    signature |= {"mask": "*i1", "stops": "*i32", **dict.fromkeys(("all_of_a_head", "upstream"), "fp32")}
    signature |= dict.fromkeys(("counted", "partials", "values", "factors", "prepared"), "*fp32")
    for kl in (False, True):
        loss = "kl" if kl else "mse"
        for name, variant in (("mask", MASKED), ("all queries", ALL_QUERIES)):
            constants = {"KL": kl, "MASK_QUERIES": True, "m_t": 1, **variant}
            yield Form(means.count_maps, f"{name}, {loss}", signature, constants, module.COUNTING)
        for name, counted in (("mask", {}), ("no mask", {"counted": None})):
            yield Form(means.finish_maps, f"{name}, {loss}", signature, {"KL": kl, **counted}, module.FINISHING)
