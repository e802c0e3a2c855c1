"""Test that no function of ours takes more than eight parameters, except those listed here with a reason."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST = 8
OPERATOR = "an operator takes the tensors, sizes and switches of its kernel one by one"
REASONS = {
    "bistil_ds/distillation/trainer.py DistillationTrainer.__init__": "models, data and options, like its base",
    "bistil_ds/evaluation/plan.py prepare": "the arguments of `evaluate`",
    "bistil_ds/evaluation/zero_shot.py evaluate": "public: what is scored, and options that have defaults",
    "bistil_ds/export/export_model.py export_model": "public: what is exported, and options that have defaults",
    "bistil_ds/tasks/prediction.py predict": "what is predicted, and this rank's part in it",
    "kernels/bistil_kernels/attention_map/flops.py attention_map": OPERATOR,
    "kernels/bistil_kernels/attention_map/fused.py _": OPERATOR,
    "kernels/bistil_kernels/attention_map/launching.py launch_backward": OPERATOR,
    "kernels/bistil_kernels/attention_map/launching.py launch_forward": OPERATOR,
    "kernels/bistil_kernels/linear_logits/flops.py linear_distillation_kl": OPERATOR,
    "kernels/bistil_kernels/linear_logits/fused.py _value_and_gradients": OPERATOR,
    "kernels/bistil_kernels/linear_logits/reference.py _LinearKL.forward": OPERATOR,
    "kernels/bistil_kernels/linear_logits/reference.py linear_distillation_kl": "hidden states, weight and bias of two",
}


def test_no_function_takes_more_parameters_than_one_can_hold_in_mind() -> None:
    long = {name for name, count in counts() if count > MOST}
    assert long - set(REASONS) == set(), "give it fewer parameters, or a reason in REASONS"
    assert set(REASONS) - long == set(), "no longer needs its reason in REASONS"


def counts() -> list[tuple[str, int]]:
    """Return `file class.function` and its number of parameters, `self` and those of Triton's kernels not counted."""
    found = []
    for room in ("bistil_ds", "kernels/bistil_kernels", "benchmarks", "launch_scripts"):
        for path in sorted((ROOT / room).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            owners = {
                id(one): f"{node.name}."
                for node in ast.walk(tree)
                if isinstance(node, ast.ClassDef)
                for one in node.body
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef) and not any("jit" in ast.unparse(d) for d in node.decorator_list):
                    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                    count = sum(one.arg not in ("self", "cls", "ctx") for one in named)
                    found.append((f"{path.relative_to(ROOT)} {owners.get(id(node), '')}{node.name}", count))
    return found
