"""Test who serves CUDA tensors after a choice, and that "torch" reaches no Triton kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from bistil_kernels import use
from bistil_kernels.flops import formulas
from bistil_kernels.runtime import choice, dispatch
from bistil_kernels.runtime.choice import FAMILIES, allows, chosen, switched_off, using

# Run every operation as if kernels took its tensors. PyTorch tries to import Triton too, and lives without.
PROGRAM = """
import sys

class NoTriton:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "triton":
            raise ImportError("triton is broken on this machine")

sys.meta_path.insert(0, NoTriton())
import torch
import bistil_kernels as k
from bistil_kernels.runtime import dispatch
from bistil_kernels.runtime.choice import chosen

assert chosen() == "torch", chosen()
dispatch.on_triton = lambda tensors: True

def run_all():
    x = torch.ones(1, 2, 4, requires_grad=True)
    w = torch.ones(3, 4, requires_grad=True)
    k.hidden_state_loss([x], [x + 1], None).sum().backward()
    k.attention_map_loss([(x[None], x[None])], [(x[None], x[None] + 1)], None).sum().backward()
    k.distillation_kl(x[0], x[0] + 1).backward()
    k.linear_distillation_kl(x[0], w, x[0], w).backward()
    delta = k.SparseDelta.of(torch.zeros(3), torch.tensor([1]))
    delta.weight.grad = torch.ones(3)
    k.SparseAdamW([delta]).step()
    k.write_deltas([delta])
    k.restore_starts([delta])
    k.gather_at(w, torch.tensor([1]))
    k.top_k_delta([(torch.ones(3), torch.zeros(3))], 2)

run_all()
assert not [name for name in sys.modules if name.startswith("bistil_kernels.") and name.endswith(".fused")]
k.use("auto")
try:
    run_all()
except ImportError:
    print("as expected")
"""


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    with using("auto"):
        yield


def test_torch_reaches_no_kernel_and_imports_no_triton() -> None:
    environment = {**os.environ, "BISTIL_KERNELS": "torch"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "as expected\n"), done.stderr


def test_a_choice_holds_for_every_family_and_auto_leaves_out_what_was_switched_off() -> None:
    assert all(map(allows, FAMILIES))
    use("torch")
    assert not any(map(allows, FAMILIES))
    use("auto", switched_off=["logits", "sparse.top_k"])
    assert [family for family in FAMILIES if not allows(family)] == ["logits", "sparse.top_k"]
    with using("triton"):
        assert all(map(allows, FAMILIES)), "it was asked for, so nothing is left out"
    assert switched_off() == {"logits", "sparse.top_k"}
    use("auto")
    assert switched_off() == frozenset()


def test_a_context_puts_the_choice_back_after_an_error() -> None:
    with pytest.raises(KeyError), using("torch"):
        raise KeyError
    assert chosen() == "auto"


def test_what_is_no_choice_or_family_is_refused_and_changes_nothing() -> None:
    with pytest.raises(ValueError, match="the choice is 'cuda', expected one of auto, triton, torch"):
        use("cuda")
    with pytest.raises(ValueError, match="no family is called 'logit'; there are hidden_state, attention_map"):
        use("torch", ["logit"])
    assert chosen() == "auto"


def test_triton_is_refused_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match='the choice is "triton", and triton is not installed: pip install triton'):
        use("triton")
    assert chosen() == "auto"


def test_the_environments_choice_is_checked_when_it_is_first_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_choice", "cuda")  # what BISTIL_KERNELS=cuda does at import
    with pytest.raises(ValueError, match="the choice is 'cuda'"):
        dispatch.runs_triton("logits", [torch.ones(1)])
    monkeypatch.setattr(choice, "_choice", "triton")
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    dispatch._has_triton.cache_clear()
    with pytest.raises(ImportError, match="triton is not installed"):
        dispatch._has_triton()


def test_torch_counts_no_operators_of_ours() -> None:
    with using("torch"):
        assert formulas() == {}
