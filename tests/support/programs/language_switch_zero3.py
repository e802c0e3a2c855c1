"""Check that a teacher switched between languages computes the same at ZeRO-3 as on one device.

`test_teacher_languages.py` runs this program.
"""

from __future__ import annotations

import sys
from pathlib import Path

import deepspeed
import torch
from transformers import BertForMaskedLM

from bistil_ds.distillation.teacher_languages import LanguageSwitch
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.training.teacher import place_teacher

ORDER = ("en", None, "tr", "tr", "en", "tr", None)


def check(folder: Path, dtype: torch.dtype, persistent_below: int) -> tuple[int, int]:
    """Compare the logits after each switch in ORDER; return how many parameters stay gathered and how many do not."""
    sfts = {language: SparseFineTuning.load(folder / language) for language in ("en", "tr")}
    whole = BertForMaskedLM.from_pretrained(folder).eval().to(dtype)
    config = {"zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": persistent_below}}
    engine = place_teacher(BertForMaskedLM.from_pretrained(folder), torch.device("cpu"), dtype, config)
    switches = [LanguageSwitch(teacher, folder, sfts) for teacher in (whole, engine)]
    ids_BT = torch.randint(41, (2, 9), generator=torch.Generator().manual_seed(0))
    parameters = list(engine.module.parameters())
    answers = []
    with torch.no_grad():
        for language in ORDER:
            if language == "en":  # gather copies now: after the switch they must not hold the old language
                for parameter in (p for p in parameters if p.ds_status.name == "NOT_AVAILABLE"):
                    parameter.all_gather()
            for switch in switches:
                switch.switch_to(language)
            expected, found = (teacher(input_ids=ids_BT).logits for teacher in (whole, engine))
            assert torch.equal(found, expected), (language, dtype, persistent_below)
            answers.append(found)
    assert torch.equal(answers[1], answers[-1])
    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])
    with deepspeed.zero.GatheredParameters(parameters):
        pairs = zip(parameters, BertForMaskedLM.from_pretrained(folder).to(dtype).parameters(), strict=True)
        assert all(torch.equal(found, expected) for found, expected in pairs)
    staying = sum(parameter.ds_persist for parameter in parameters)
    return staying, len(parameters) - staying


def main() -> None:
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # this operator would compile C++ at start-up
    deepspeed.init_distributed("gloo")
    folder = Path(sys.argv[1])
    for dtype in (torch.float32, torch.bfloat16):
        assert check(folder, dtype, persistent_below=0)[0] == 0
        staying, leaving = check(folder, dtype, persistent_below=100)
        assert staying > 0
        assert leaving > 0
    print("every answer is the same")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
