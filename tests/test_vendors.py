"""Test that our code runs on GPUs of AMD too, for which `is_cuda` and `torch.cuda.is_available()` are true as well.

What only NVIDIA's GPUs have must be guarded: each place that names it stands in `GUARDED`, with its guard. The size of
a warp differs too, so that no code may name it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

import pytest
from bistil_kernels.runtime.vendor import NVIDIA_OPTIONS
from reading_code.import_graph import modules

# names of NVIDIA's libraries, tools, instructions and launch options, as code or a whole string may hold them
ONLY_NVIDIAS = {
    *("inline_asm_elementwise", "libdevice", "tl.extra", "globaltimer", "smid", "GPUTarget"),
    *("warp_size", "warpSize", "WARP_SIZE", "warp_specialize", "num_ctas", "cluster_dims", *NVIDIA_OPTIONS),
    *("tf32", "tf32x3", "allow_tf32", "TensorDescriptor", "make_tensor_descriptor", "tma"),
    *("get_device_capability", "get_arch_list", "get_gencode_flags", "cudart", "nvtx", "nvrtc"),
    *("pynvml", "nvidia", "cuobjdump", "nvdisasm", "ptxas", "ptx", "cubin", "CUDAExecutionProvider"),
}
MACHINE_CODE = "bistil_kernels.runtime.machine_code"
AHEAD_OF_TIME = "the target says whose GPU it is; tests/kernels/test_compile.py compiles for both"
GUARDED = {
    **{(MACHINE_CODE, name): AHEAD_OF_TIME for name in ("GPUTarget", "cubin", "cuobjdump", "nvidia", "maxnreg")},
    ("bistil_kernels.runtime.vendor", "maxnreg"): "`launchable` leaves it out",
    ("bistil_kernels.attention_map.settings", "maxnreg"): "`launchable`; tests/kernels/attention_map/test_fused.py",
    ("bistil_kernels.runtime.precision", "tf32"): "torch's own setting, which ROCm's build has too",
    ("bistil_ds.training.flags.inherited", "tf32"): "a flag of transformers, which refuses it where it cannot hold",
    ("bistil_ds.training.energy", "pynvml"): "`torch.version.hip`; tests/training/test_energy.py",
    ("bistil_ds.benchmarking.harness.machine_state", "pynvml"): "`torch.version.hip`; test_result_file.py",
    ("bistil_ds.benchmarking.models.engines", "CUDAExecutionProvider"): "`unavailable` asks ONNX Runtime first",
}


def named(tree: ast.AST) -> Iterator[str]:
    """Yield every name, attribute, part of an import, keyword and whole string in the code, and `tl.extra`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
            yield f"{node.value.id}.{node.attr}" if isinstance(node.value, ast.Name) else ""
        elif isinstance(node, ast.alias | ast.ImportFrom):
            path = (node.name if isinstance(node, ast.alias) else node.module) or ""
            yield from path.split(".")
            yield "tl.extra" if path.startswith("triton.language.extra") else ""
        elif isinstance(node, ast.keyword | ast.arg):
            yield node.arg or ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def code_with(words: Iterable[str]) -> dict[str, ast.Module]:
    """Return the code of every module of ours whose text has one of the words, by the module's name."""
    has_one = re.compile(rf"\b({'|'.join(map(re.escape, words))})\b").search
    texts = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}
    return {name: ast.parse(text) for name, text in texts.items() if has_one(text)}


def test_what_only_nvidias_gpus_have_is_guarded() -> None:
    code = code_with([*ONLY_NVIDIAS, "triton.language.extra"])
    found = {(module, name) for module, tree in code.items() for name in named(tree) if name in ONLY_NVIDIAS}
    assert found - set(GUARDED) == set(), "guard these, and say in GUARDED how"
    assert set(GUARDED) - found == set(), "nobody names these any more: take them out"


@pytest.mark.parametrize(
    "line",
    [
        "tl.inline_asm_elementwise('', '', [], tl.float32, True, 1)",
        "y = tl.extra.cuda.globaltimer()",
        "from triton.language.extra import libdevice",
        "import triton.language.extra.cuda as tricks",
        "lanes = properties.warp_size",
        "kernel[grid](x, num_ctas=2)",
        "settings = {'num_warps': 4, 'maxnreg': 128}",
        "major, minor = torch.cuda.get_device_capability()",
        "import pynvml",
        "def launch(x, maxnreg=None): ...",
    ],
)
def test_the_search_finds_it(line: str) -> None:
    assert set(named(ast.parse(line))) & ONLY_NVIDIAS


def values(node: ast.expr) -> list[int]:
    """Return the integers that an expression may give."""
    if isinstance(node, ast.IfExp):
        return values(node.body) + values(node.orelse)
    return [ast.literal_eval(node)]


def test_every_launch_takes_options_of_amds_compiler_and_at_most_1024_threads() -> None:
    options = pytest.importorskip("triton.backends.amd.compiler").HIPOptions.__dataclass_fields__
    launches = [
        {key.value: value for key, value in zip(node.keys, node.values) if isinstance(key, ast.Constant)}
        for tree in code_with(["num_warps"]).values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        and any(isinstance(key, ast.Constant) and key.value == "num_warps" for key in node.keys)
    ]
    assert len(launches) > 20, "the search finds the launch configurations"
    for launch in launches:
        assert {name for name in launch if name.islower()} <= {*options, *NVIDIA_OPTIONS}, launch
        assert all(64 * warps <= 1024 for warps in values(launch["num_warps"])), launch
