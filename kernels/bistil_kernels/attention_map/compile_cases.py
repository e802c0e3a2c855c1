"""Forms of the attention-map kernels to compile ahead of time. A form is a choice of dtypes, sizes and constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bistil_kernels.runtime.machine_code import CAPABILITIES, row

P = 6  # pairs, one for each layer of a six-layer student
Form = Mapping[str, Any]
# values of arguments that a form has fixed; a form without `mask` or `window` has one
CUT: Form = {"mask": None, "stops": None, "counted": None, "m_b": 0, "m_t": 0, "window": None}
WHOLE: Form = {**CUT, "FULL": True}  # the tile size divides the number of tokens, as it usually does
MASKED: Form = {"window": None}
ALL_QUERIES: Form = {"MASK_QUERIES": False, "window": None}
SLIDING: Form = {}
GROUPS: Form = {"GROUP_S": 4, "GROUP_T": 2}
GROUPED: Form = {**MASKED, **GROUPS}
CUT_SLIDING: Form = {name: value for name, value in CUT.items() if name != "window"}
CUT_FORMS = {"no mask": CUT, "whole tiles": WHOLE, "window": CUT_SLIDING, "grouped keys": {**CUT, **GROUPS}}
MASKED_FORMS = {
    "mask and window": SLIDING,  # the first form of a kind is the quick check's; this one needs the most registers
    "mask": MASKED,
    "all queries": ALL_QUERIES,
    "grouped keys": GROUPED,
}
KINDS: Mapping[str, tuple[str, int, Mapping[str, Form]]] = {  # kind → dtype and width of heads, forms to compile
    "64": ("bf16", 64, CUT_FORMS),
    "64 small": ("bf16", 64, CUT_FORMS),
    "64 masked": ("bf16", 64, MASKED_FORMS),
    "64 masked fp16": ("fp16", 64, MASKED_FORMS),
    "128": ("bf16", 128, {**MASKED_FORMS, "no mask": CUT, "whole tiles": WHOLE}),
    "wide": ("fp16", 256, {**MASKED_FORMS, "no mask": CUT, "whole tiles": WHOLE}),
    "fp32": ("fp32", 128, {**MASKED_FORMS, "no mask": CUT, "whole tiles": WHOLE}),
}
OTHER_DTYPES = (("64", "fp16"), ("128", "fp16"), ("wide", "bf16"), ("fp32", "fp32 from bf16"))


def rows(every_form: bool = True) -> list[dict[str, Any]]:
    """Compile the kernels and return their resource table, the registers and memory that each form needs.

    The table has each kernel for the widest heads of each kind of input, in all forms, for both losses. Without
    `every_form`, it has the kernels over tiles in one form for each launch configuration, for "mse" only.
    """
    table = []
    for capability in CAPABILITIES:
        for kind, (dtype, width, forms) in KINDS.items():
            some = forms if every_form else dict(list(forms.items())[:1])
            for name, form in some.items():
                table += _of_tiles(kind, dtype, width, name, form, capability, every_form)
        for kind, dtype in OTHER_DTYPES if every_form else ():
            _, width, forms = KINDS[kind]
            name, form = next(iter(forms.items()))
            table += _of_tiles(kind, dtype, width, name, form, capability, False)
        table += _of_means(capability)
    return table


def _of_tiles(
    kind: str, dtype: str, width: int, name: str, form: Form, capability: int, every_form: bool
) -> list[dict[str, Any]]:
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
    forward = {"gradients": (f"*{kept}",) * P, "counted": "*fp32", "partials": "*fp32"}
    forward |= {"all_of_a_head": "fp32", "upstream": "fp32"}
    backward = {"gradients": (f"*{student}",) * P, "factors": "*fp32", "upstream": "*fp32"}
    constants: dict[str, Any] = {f"{x}_d": 1 for x in ("qs", "ks", "qt", "kt")}
    constants |= {"m_t": 1, "up_p": 1, "d_s": width, "d_t": width, "MASK_QUERIES": True, "FULL": False}
    constants |= {"GROUP_S": 1, "GROUP_T": 1}

    def compiled(kernel: Any, own: Mapping[str, Any], settings: Mapping[str, int], more: Form, words: str) -> Any:
        types = {k: v for k, v in {**signature, **own}.items() if k not in {**form, **more}}
        fixed = {**constants, **dict.fromkeys(("WIDTH_S", "WIDTH_T"), 64 if settings["PART"] else width)}
        return row(kernel, f"{dtype} width {width}, {words}", types, {**fixed, **form, **more}, settings, capability)

    table = []
    for kl in (False, True) if every_form else (False,):
        words = f"{name}, {'kl' if kl else 'mse'}"
        tile, alone = {"KL": kl, "ONE_TILE": False}, {"KL": kl, "ONE_TILE": True}
        without = {**tile, "gradients": None, "stats": None}
        settings = module.FORWARD[kind]
        table.append(compiled(tiles.key_gradients, backward, module.BACKWARD[kind], {"KL": kl}, words))
        if kind == "64 small":  # with a gradient, this kind has few tokens: one tile holds all keys
            table.append(compiled(tiles.compare_maps, forward, settings, alone, f"{words}, one tile"))
        else:
            table.append(compiled(tiles.compare_maps, forward, settings, tile, words))
        if every_form and (kind.startswith("64 masked") or kind == "128"):
            table.append(compiled(tiles.compare_maps, forward, settings, alone, f"{words}, one tile"))
        if every_form and kind != "64":
            table.append(compiled(tiles.compare_maps, forward, settings, without, f"{words}, no gradient"))
    return table


def _of_means(capability: int) -> list[dict[str, Any]]:
    from bistil_kernels.attention_map import launching as module
    from bistil_kernels.attention_map import means

    signature = dict.fromkeys(("programs", "T", "m_b"), "i32:16") | dict.fromkeys("BH", "i32")
    signature |= {"mask": "*i1", "stops": "*i32", **dict.fromkeys(("all_of_a_head", "upstream"), "fp32")}
    signature |= dict.fromkeys(("counted", "partials", "values", "factors", "prepared"), "*fp32")
    table = []
    for kl in (False, True):
        for name, form in (("mask", MASKED), ("all queries", ALL_QUERIES)):
            constants = {"KL": kl, "MASK_QUERIES": True, "m_t": 1, **form}
            words = f"{name}, {'kl' if kl else 'mse'}"
            table.append(row(means.count_maps, words, signature, constants, module.COUNTING, capability))
        for name, form in (("mask", MASKED), ("no mask", {"counted": None})):
            types = {k: v for k, v in signature.items() if k not in form}
            words = f"{name}, {'kl' if kl else 'mse'}"
            table.append(row(means.finish_maps, words, types, {"KL": kl, **form}, module.FINISHING, capability))
    return table
