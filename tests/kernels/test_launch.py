"""Launches repeat a kernel's machine code for arguments that Triton would choose it for, and for no others."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

triton = pytest.importorskip("triton")
tl = pytest.importorskip("triton.language")

from bistil_kernels.runtime import launch as triton_launch  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import make_backend  # noqa: E402
from triton.runtime import jit  # noqa: E402


@triton.jit
def move(sources, target, mask, n, stride, factor, BLOCK: tl.constexpr, ADD: tl.constexpr = False):
    """Compiled by nobody: only its signature counts."""


real = move.fn if isinstance(move, triton_launch.JITFunction) else None
FACTS = {"BLOCK": 16, "num_warps": 4}


class Code:
    """What Triton would compile, knowing what for."""

    metadata = SimpleNamespace(target=SimpleNamespace(backend="cuda"))
    function, packed_metadata = "function", "metadata"

    def __init__(self, kernel: Kernel, made_for: object) -> None:
        self.kernel, self.made_for = kernel, made_for
        self.runs: list[tuple[Any, ...]] = []

    def run(self, *args: Any) -> None:
        head, given = args[:9], args[9:]
        pointers_and_numbers, blanks = given[:6], given[6:]
        assert blanks == (None, None)
        assert self.kernel.specialization(*pointers_and_numbers, **FACTS) == self.made_for
        self.runs.append((head, pointers_and_numbers))


class Kernel:
    """A kernel that is chosen for by Triton's own means, and never compiled."""

    def __init__(self) -> None:
        self.params, self.pre_run_hooks = move.params, list[object]()
        self.binder = jit.create_function_from_signature(
            move.signature, move.params, make_backend(GPUTarget("cuda", 90, 32))
        )
        self.device, self.stream = 0, 7
        self.chosen: list[Code] = []

    def specialization(self, *args: Any, **constants: Any) -> object:
        _, found, options = self.binder(*args, **constants)
        return self.device, str(found), str(options)

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def choose(*args: Any, **constants: Any) -> Code:
            self.chosen.append(Code(self, self.specialization(*args, **constants)))
            return self.chosen[-1]

        return choose


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    if real is None:
        pytest.skip("under the interpreter there is nothing to choose")
    kernel = Kernel()
    active = SimpleNamespace(
        get_current_device=lambda: kernel.device, get_current_stream=lambda device: (device, kernel.stream)
    )
    for name, stub in (("JITFunction", Kernel), ("CompiledKernel", Code), ("driver", SimpleNamespace(active=active))):
        monkeypatch.setattr(triton_launch, name, stub)
    return kernel


def tensor(dtype: torch.dtype = torch.float32, aligned: bool = True) -> Tensor:
    x = torch.zeros(64, dtype=dtype)
    assert x.data_ptr() % 16 == 0
    return x if aligned else x[1:]


def arguments(**changes: Any) -> tuple[tuple[Any, ...], tuple[int, ...], tuple[float, ...]]:
    """Pointers, integers and floats of a launch of `move`."""
    given: dict[str, Any] = {"sources": (tensor(), tensor()), "target": tensor(), "mask": tensor(torch.bool)}
    given |= {"n": 100, "stride": 48, "factor": 0.5} | changes
    return (given["sources"], given["target"], given["mask"]), (given["n"], given["stride"]), (given["factor"],)


def test_the_code_is_asked_for_once(kernel: Kernel) -> None:
    launch = triton_launch.Launch(kernel, **FACTS)
    first, second = arguments(), arguments(factor=0.25)
    launch((2, 3), *first)
    kernel.stream = 8
    launch((2, 3), *second)
    launch((5,), *first)
    assert len(kernel.chosen) == 1
    (grid_a, run_a), (grid_b, _) = kernel.chosen[0].runs
    assert grid_a == (2, 3, 1, (0, 8), "function", "metadata", None, None, None)
    assert grid_b[:3] == (5, 1, 1)
    assert run_a[0] is second[0][0], "tensors go to the launcher themselves"
    assert run_a[3:] == (100, 48, 0.25)


CHANGES: dict[str, dict[str, Any]] = {
    "no mask": {"mask": None},
    "another dtype": {"target": tensor(torch.float16)},
    "another dtype in a tuple": {"sources": (tensor(), tensor(torch.float16))},
    "fewer in a tuple": {"sources": (tensor(),)},
    "a stride of 1": {"stride": 1},
    "a stride that is no multiple of 16": {"stride": 40},
    "a size that is a multiple of 16": {"n": 96},
    "a size beyond 32 bits": {"n": 2**31 + 4},
    "a size beyond 63 bits": {"n": 2**63 + 4},
    "a misaligned tensor": {"target": tensor(aligned=False)},
    "a misaligned tensor in a tuple": {"sources": (tensor(), tensor(aligned=False))},
}


@pytest.mark.parametrize("change", CHANGES)
def test_code_for_other_arguments_is_not_taken(kernel: Kernel, change: str) -> None:
    launch = triton_launch.Launch(kernel, **FACTS)
    for given in (arguments(), arguments(**CHANGES[change])) * 2:
        launch((1,), *given)
    misaligned = "misaligned" in change
    assert [len(x.runs) for x in kernel.chosen] == ([1, 0, 0] if misaligned else [1, 1])
    assert len({str(x.made_for) for x in kernel.chosen}) == 2, "Triton itself tells them apart"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"target": None, "mask": tensor()}, {"target": tensor(), "mask": None}),
        ({"sources": (tensor(),) * 2, "target": (tensor(),)}, {"sources": (tensor(),), "target": (tensor(),) * 2}),
    ],
)
def test_where_none_stands_and_tuples_end_counts(kernel: Kernel, one: dict[str, Any], other: dict[str, Any]) -> None:
    launch = triton_launch.Launch(kernel, **FACTS)
    for given in (one, other) * 2:
        launch((1,), *arguments(**given))
    assert [len(x.runs) for x in kernel.chosen] == [1, 1]


def test_code_of_another_device_or_of_other_constants_is_not_taken(kernel: Kernel) -> None:
    launch = triton_launch.Launch(kernel, **FACTS)
    for device in (0, 1, 0, 1):
        kernel.device = device
        launch((1,), *arguments())
    assert [len(x.runs) for x in kernel.chosen] == [1, 1]
    triton_launch.Launch(kernel, **FACTS)((1,), *arguments())
    assert len(kernel.chosen) == 3, "each has its own constants"


def test_whatever_is_launched_runs_on_code_made_for_it(kernel: Kernel) -> None:
    """`Code.run` compares with what Triton chooses."""
    launch, draw = triton_launch.Launch(kernel, **FACTS), random.Random(0)
    integers = [
        0,
        1,
        2,
        15,
        16,
        17,
        32,
        2**31 - 1,
        2**31,
        2**31 + 15,
        -1,
        -16,
        -(2**31),
        -(2**31) - 1,
        2**40 + 4,
        2**63 + 4,
    ]

    def one() -> Tensor:
        dtype = draw.choice([torch.float32, torch.bfloat16])
        return tensor(dtype, aligned=draw.random() < 0.9)

    for _ in range(3000):
        sources = tuple(one() for _ in range(draw.choice([1, 2])))
        n, stride = draw.choice(integers), draw.choice([1, 40, 48])
        kernel.device = draw.randrange(2)
        changes: dict[str, Any] = {"sources": sources, "target": one(), "mask": draw.choice([None, one()])}
        launch((1,), *arguments(**changes, n=n, stride=stride, factor=draw.choice([0.0, 0.5, 1.0, 16.0])))
    assert sum(len(x.runs) for x in kernel.chosen) > 300


@pytest.mark.parametrize("wrong", [{"factor": 1}, {"n": True}, {"n": 2.0}])
def test_numbers_of_another_kind_are_left_to_triton(kernel: Kernel, wrong: dict[str, Any]) -> None:
    launch = triton_launch.Launch(kernel, **FACTS)
    for _ in range(2):
        launch((1,), *arguments(**wrong))
    assert [x.runs for x in kernel.chosen] == [[], []]


def test_what_somebody_watches_or_debugs_is_left_to_triton(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    launch, runtime = triton_launch.Launch(kernel, **FACTS), triton_launch.knobs.runtime

    def is_kept() -> bool:
        before = len(kernel.chosen)
        launch((1,), *arguments())
        return len(kernel.chosen) == before

    assert [is_kept(), is_kept()] == [False, True]
    for place, name, value in [
        (kernel, "pre_run_hooks", [print]),
        (runtime, "debug", True),
        (runtime, "launch_enter_hook", print),
        (runtime, "launch_exit_hook", SimpleNamespace(calls=[print])),
        (triton_launch, "_IS_READ", False),
        (triton_launch, "JITFunction", int),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            assert not is_kept(), name
        assert is_kept(), name


def test_sizes_that_change_with_every_batch_take_no_memory(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = triton_launch._Kinds()
    monkeypatch.setattr(triton_launch, "_kind", kinds.__getitem__)
    monkeypatch.setattr(triton_launch, "MOST_NUMBERS", 3)
    launch = triton_launch.Launch(kernel, **FACTS)
    for n in range(17, 100):
        launch((1,), *arguments(n=n))
    assert len(kinds) == 3
    assert len(launch._kept) == len(kernel.chosen) == 2, "multiples of 16 and others"
    assert [x.runs[-1][1][3] for x in kernel.chosen] == [99, 96]


def test_what_is_launched_in_many_places_has_one_memory(kernel: Kernel) -> None:
    one = triton_launch.launch_of(kernel, **FACTS)
    assert one is triton_launch.launch_of(kernel, **FACTS)
    assert one is not triton_launch.launch_of(kernel, **{**FACTS, "BLOCK": 16.0})
    assert one is not triton_launch.launch_of(Kernel(), **FACTS)
