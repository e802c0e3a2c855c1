"""Refuse choices of training arguments with which a run would go wrong without a word."""

from __future__ import annotations

from typing import Any

from bistil_ds.errors import InputError


def check_choices(args: Any) -> None:
    """Raise InputError if a run would read other batches once resumed, or keep another model than it compared.

    Args:
        args: `transformers.TrainingArguments`.
    """
    if args.train_sampling_strategy == "batch_rebalance":
        raise InputError(
            "--train_sampling_strategy batch_rebalance: it ignores --seed, a resumed run reads other batches, and "
            "ranks with fewer rows count as much; take group_by_length"
        )
    if args.optim.startswith("schedule_free"):
        raise InputError(
            f"--optim {args.optim.value}: it validates and saves other weights than it trains, which is not done here; "
            "take another one"
        )
    by_steps = args.eval_strategy == args.save_strategy == "steps"
    if args.load_best_model_at_end and by_steps and args.save_steps != args.eval_steps:
        raise InputError(
            f"--save_steps {args.save_steps}: the best validation may have no checkpoint with --eval_steps "
            f"{args.eval_steps}; give --save_steps {args.eval_steps}, or --save_strategy best"
        )
