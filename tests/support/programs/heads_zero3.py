"""Check that task models load at ZeRO-3 as they do on one device; `test_heads.py` runs this program on 2 ranks."""

from __future__ import annotations

import sys
from pathlib import Path

import deepspeed
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification, PreTrainedModel
from transformers.integrations import HfDeepSpeedConfig
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from bistil_ds.models.loading import load_language_model
from bistil_ds.tasks import find_task
from bistil_ds.tasks.heads import load_classifier

CONFIG = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3}}
LABELS = ["x", "y", "z"]


def whole(model: PreTrainedModel) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters())
    assert all(hasattr(parameter, "ds_id") for parameter in parameters.values())
    with deepspeed.zero.GatheredParameters(list(parameters.values())):
        return {name: parameter.detach().clone() for name, parameter in parameters.items()}


def check_heads(folder: Path) -> None:
    found = whole(load_classifier(AutoModelForSequenceClassification, folder / "mlm", LABELS))
    assert torch.equal(found["bert.pooler.dense.weight"], torch.eye(32))
    weight = found["classifier.weight"]
    assert 0.1 < weight.std() < 0.3
    both = [torch.empty_like(weight) for _ in range(2)]
    torch.distributed.all_gather(both, weight)
    assert torch.equal(*both)
    kept = whole(load_classifier(AutoModelForSequenceClassification, folder / "finished", LABELS))
    unset_hf_deepspeed_config()  # else ZeRO-3 would partition this model too
    finished = BertForSequenceClassification.from_pretrained(folder / "finished")
    assert all(torch.equal(kept[name], value) for name, value in finished.named_parameters())


def check_families(folder: Path) -> None:
    """Compare models of other families with what the folders hold: the encoder, and layers that start as identity."""
    for name in ("modernbert", "eurobert", "headless"):
        live = HfDeepSpeedConfig(CONFIG)
        found = whole(load_classifier(AutoModelForSequenceClassification, folder / name, LABELS))
        loaded = whole(load_language_model(folder / name))
        del live
        unset_hf_deepspeed_config()
        stored = load_language_model(folder / name)
        expected = dict(stored.named_parameters())
        assert loaded.keys() == expected.keys(), name
        assert all(torch.equal(value, expected[key]) for key, value in loaded.items()), name
        encoder = dict(stored.base_model.named_parameters())
        prefix = "bert." if name == "headless" else "model."
        assert all(torch.equal(found[prefix + key], value) for key, value in encoder.items()), name
        identity = {"eurobert": "dense.weight", "headless": "bert.pooler.dense.weight"}.get(name)
        assert identity is None or torch.equal(found[identity], torch.eye(32)), name


def check_masked_head(folder: Path) -> None:
    ids = torch.randint(5, 61, (3, 12), generator=torch.Generator().manual_seed(0))
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": torch.where(torch.arange(36).view(3, 12) % 5 == 0, ids, -100),
    }
    alone = find_task("mlm").load_model(folder / "mlm", ())
    live = HfDeepSpeedConfig(CONFIG)
    engine = deepspeed.initialize(model=find_task("mlm").load_model(folder / "mlm", ()), config=CONFIG)[0]
    outputs, expected = engine(**batch), alone(**batch)
    assert outputs.logits.shape == (8, 61)
    assert torch.allclose(outputs.loss, expected.loss)
    assert torch.allclose(outputs.logits, expected.logits, atol=1e-5)
    del live


def main() -> None:
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # this operator would compile C++ at start-up
    deepspeed.init_distributed("gloo")
    folder = Path(sys.argv[1])
    live = HfDeepSpeedConfig(CONFIG)
    torch.manual_seed(0)
    check_heads(folder)
    del live
    check_families(folder)
    check_masked_head(folder)
    print("all task models are whole")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
