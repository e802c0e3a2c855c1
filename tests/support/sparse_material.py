"""A tiny model, a made-up task, and a Trainer of the model on that task, for the tests of sparse training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    PreTrainedModel,
    TrainingArguments,
    XLMRobertaForMaskedLM,
    XLMRobertaForTokenClassification,
)
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging

from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sparse import SparseArguments
from bistil_ds.training.base_trainer import BaseTrainer
from bistil_ds.tuning.lottery_ticket import LotteryTicketTrainer
from bistil_ds.tuning.stage import Stage

VOCABULARY, LENGTH, LABELS = 120, 12, 5


class Tags(Dataset):
    """Random tokens, each labelled with its id modulo LABELS (for `mlm`, with its id); some rows end in padding."""

    def __init__(self, rows: int, seed: int = 0, mlm: bool = False, padding: bool = True) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.ids_RT = torch.randint(4, VOCABULARY, (rows, LENGTH), generator=draw)
        if padding:
            self.ids_RT[::3, -3:] = 1
        self.labels_RT = self.ids_RT.clone() if mlm else self.ids_RT % LABELS
        self.labels_RT[self.ids_RT == 1] = -100

    def __len__(self) -> int:
        return len(self.ids_RT)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        ids_T = self.ids_RT[row]
        return {"input_ids": ids_T, "attention_mask": (ids_T != 1).long(), "labels": self.labels_RT[row]}


def write_base(folder: Path) -> Path:
    """Write the base model, a masked language model of one layer with tied embeddings, and return its folder."""
    tiny.xlmr(VOCABULARY, layers=1, width=16).save_pretrained(folder)
    return folder


def load(folder: Path, mlm: bool = False) -> PreTrainedModel:
    """Load the base with a new token-classification head, or with `mlm` as a masked language model with frozen head."""
    if not mlm:
        return XLMRobertaForTokenClassification.from_pretrained(folder, num_labels=LABELS, dtype="float32")
    model = XLMRobertaForMaskedLM.from_pretrained(folder, dtype="float32")
    embeddings = model.get_input_embeddings().weight
    for parameter in model.lm_head.parameters():
        parameter.requires_grad_(parameter is embeddings)
    return model


class TagTrainer(BaseTrainer):
    """A Trainer with the model's own loss; after training it calls `probe`, if there is one, with itself."""

    probe: Any = None

    def __init__(self, model: PreTrainedModel, args: TrainingArguments, **kwargs: Any) -> None:
        super().__init__(model=model, args=args, **kwargs)
        self.model_accepts_loss_kwargs = False
        self.remove_callback(PrinterCallback)

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**inputs)
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def train(self, *args: Any, **kwargs: Any) -> Any:
        done = super().train(*args, **kwargs)
        if self.probe is not None:
            self.probe(self)
        return done


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    """Return arguments for a short, silent training on the CPU."""
    given: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 3,
    }
    return TrainingArguments(**{**given, **changes})


def factory(mlm: bool = False, rows: int = 64, probe: Any = None, padding: bool = True) -> Any:
    """Return a `make_trainer` for `LotteryTicketTrainer`."""

    def make(model: PreTrainedModel, args: TrainingArguments, stage: Stage) -> TagTrainer:
        trainer = TagTrainer(model, args, train_dataset=Tags(rows, 0, mlm, padding), eval_dataset=Tags(16, 1, mlm))
        if probe is not None:
            trainer.probe = lambda t: probe(t, stage)
        return trainer

    return make


def sparse(**changes: Any) -> SparseArguments:
    """Return arguments of sparse training with four steps in each stage."""
    return SparseArguments(**{"full_max_steps": 4, "sparse_max_steps": 4, **changes})


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Silence transformers, which would report the new head at every load."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(before)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the tiny base model."""
    return write_base(tmp_path_factory.mktemp("base") / "model")


def lottery(
    base: Path,
    out: Path,
    *,
    probe: Any = None,
    training: dict[str, Any] | None = None,
    mlm: bool = False,
    **changes: Any,
) -> LotteryTicketTrainer:
    """Return the trainer of both stages, with changed arguments of training and of sparse training."""
    return LotteryTicketTrainer(
        lambda: load(base, mlm),
        factory(mlm, probe=probe),
        arguments(out, **(training or {})),
        sparse(**changes),
        base,
        {"base_model": "tiny", "task": "pos"},
    )


def moved(sft: SparseFineTuning) -> int:
    """Return how many entries an SFT changes."""
    return sum(len(diff.indices_K) for diff in sft.sparse.values())


def same(one: SparseFineTuning, other: SparseFineTuning) -> bool:
    """Return whether two SFTs of the same parameters have the same bits."""
    assert one.sparse.keys() == other.sparse.keys()
    assert one.dense.keys() == other.dense.keys()
    return all(
        one.sparse[n].indices_K.equal(other.sparse[n].indices_K)
        and one.sparse[n].values_K.equal(other.sparse[n].values_K)
        for n in one.sparse
    ) and all(one.dense[n].equal(other.dense[n]) for n in one.dense)


@pytest.fixture(scope="session")
def run(
    base: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, SparseFineTuning, dict[str, dict[str, Tensor]]]:
    """Return the folder, the result and the weights at the end of each stage, from a whole run at 8 %."""
    out, weights = tmp_path_factory.mktemp("run") / "out", {}

    def probe(trainer: Any, stage: Stage) -> None:
        weights[stage.kind] = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}

    return out, lottery(base, out, probe=probe).train(), weights
