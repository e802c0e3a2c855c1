"""Validate, train and validate again under ZeRO-3 from Python; print the validation losses.

`test_zero.py` runs this program.
"""

from __future__ import annotations

import gc
import json
import sys

import tiny
from datasets import Dataset

from bistil_ds.distillation.arguments import DistillationArguments, LossArguments
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.distributed import startup
from bistil_ds.distributed.config import find_config
from bistil_ds.student import build_student


def main(folder: str) -> None:
    startup.prepare_environment(use_deepspeed=True)
    startup.start_distributed(use_deepspeed=True)
    gc.freeze()  # exempts what the imports made from the collections that each training asks for
    tokenizer = tiny.unigram_tokenizer()
    teacher = tiny.xlmr(len(tokenizer))
    student = build_student(teacher, progress=False)
    rows = {one: tokenizer(tiny.text_lines(one, 20))["input_ids"] for one in tiny.SYLLABLES}
    chunks = {one: Dataset.from_dict({"input_ids": ids}) for one, ids in rows.items()}
    trainer = DistillationTrainer(
        student.student,
        teacher,
        DistillationArguments(
            output_dir=folder,
            max_steps=2,
            report_to="none",
            disable_tqdm=True,
            deepspeed=str(find_config("zero3")),
        ),
        layer_map=student.layer_map,
        train_dataset=chunks,
        eval_dataset=chunks,
        losses=LossArguments(mlm_weight="1", logit_weight="1"),
        processing_class=tokenizer,
    )
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    first, *_, last = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    print(json.dumps([before, first, last, trainer.evaluate()["eval_loss"]]))
    startup.stop_distributed()


if __name__ == "__main__":
    main(sys.argv[1])
