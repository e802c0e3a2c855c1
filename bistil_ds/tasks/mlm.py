"""Masked language modelling, which trains the language fine-tunings of LT-SFT (section 3); scored by accuracy.

Shapes: B rows of a batch, T tokens, N masked tokens (in `_chunks`: N texts), V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.console.progress import progress_bar
from bistil_ds.distributed.startup import rank
from bistil_ds.errors import InputError
from bistil_ds.models.head import IGNORED
from bistil_ds.models.inputs import load_config, without_dropout
from bistil_ds.models.loading import is_masked_lm, load_pretrained
from bistil_ds.models.masked_head import MaskedHead
from bistil_ds.tasks.examples import Text
from bistil_ds.tasks.labels import refuse_label_map
from bistil_ds.tasks.padding import pad, pad_inputs
from bistil_ds.tasks.readers import read_texts
from bistil_ds.tasks.task import ReadOptions, Row, Task
from bistil_ds.tasks.text_key import text_key
from bistil_ds.text.cutting import cut
from bistil_ds.text.masking import mask_tokens

PROBABILITY = 0.15
TEXTS_AT_ONCE = 1000


class MaskedLanguageModelling(Task):
    """Masked language modelling on chunks: texts with their special tokens, laid end to end and cut.

    In evaluation, a chunk has the same mask each time. In training, it gets a new one in each epoch, from `draw`.
    """

    name = "mlm"
    metric = "accuracy"
    full_epochs = 100
    sparse_epochs = 100
    max_steps = 100_000
    learning_rate = 5e-5
    trains_head = False

    def read(self, source: str, options: ReadOptions) -> Iterator[Text]:
        refuse_label_map(options, self.name)
        return read_texts(source, options)

    def labels(self, examples: Sequence[Text]) -> tuple[str, ...]:
        return ()

    def check_labels(self, examples: Sequence[Text], labels: Sequence[str], flag: str) -> None:
        pass

    def features(
        self,
        examples: Sequence[Text],
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        max_length: int,
        *,
        training: bool,
    ) -> list[Row]:
        """Return a row for each chunk of `max_length` tokens, except chunks that hold special tokens only.

        `example` is the index of the text in which the chunk begins. Evaluation rows are masked here, training rows
        later, by `draw`, with the settings in `masking`.

        Raises:
            InputError: the tokenizer has no mask token.
        """
        if tokenizer.mask_token_id is None:
            raise InputError(
                f"--task mlm: the tokenizer {tokenizer.name_or_path} has no mask token; give another model"
            )
        special = set(tokenizer.all_special_ids)
        masking = {"mask": tokenizer.mask_token_id, "vocabulary": len(tokenizer), "special": sorted(special)}
        rows: list[Row] = []
        for number, (example, ids) in enumerate(_chunks(examples, tokenizer, max_length)):
            if special.issuperset(ids):
                continue
            row: Row = {"input_ids": ids, "example": example, "masking": masking}
            if not training:
                masked_1T, labels_1T = _mask(torch.tensor([ids]), masking, seed=number)
                row = {"input_ids": masked_1T[0].tolist(), "labels": labels_1T[0].tolist(), "example": example}
            rows.append(row)
        return rows

    def check_model(self, config: PretrainedConfig) -> None:
        if not is_masked_lm(config):
            raise InputError(
                f"is a {(config.architectures or ['model'])[0]}, which has no masked-LM head, so --task mlm cannot be "
                "done with it; give a masked language model"
            )

    def load_model(self, folder: str | Path, labels: Sequence[str], **kwargs: Any) -> PreTrainedModel:
        """Load the masked language model in fp32, without dropout.

        With labels, the model's forward returns logits [N, V], those of the masked tokens only.

        Raises:
            InputError: the folder lacks weights of a masked language model, such as its head.
        """
        config = load_config("", folder)
        without_dropout(config)
        model, absent = load_pretrained(AutoModelForMaskedLM, folder, config=config, dtype=torch.float32, **kwargs)
        if absent:
            raise InputError(f"{folder}: is no masked language model (no {min(absent)}); give one")
        MaskedHead(model)
        result: PreTrainedModel = model
        return result

    def collate(self, rows: Sequence[Row], pad_token_id: int) -> dict[str, Any]:
        batch: dict[str, Any] = pad_inputs(rows, pad_token_id)
        if "labels" in rows[0]:
            batch["labels"] = pad([row["labels"] for row in rows], IGNORED)
        else:
            batch["masking"] = rows[0]["masking"]
        return batch

    def draw(self, batch: dict[str, Any], seed: int) -> dict[str, Tensor]:
        """Return the batch with masks, and with the labels int64 [B, T] in place of `masking`."""
        masked_BT, labels_BT = _mask(batch["input_ids"], batch["masking"], seed)
        return {"input_ids": masked_BT, "attention_mask": batch["attention_mask"], "labels": labels_BT}

    def distilled_logits(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the logits [N, V] at the masked tokens."""
        logits = outputs.logits
        return [logits if logits.dim() == 2 else logits[batch["labels"] != IGNORED]]

    def predict(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[tuple[int, int]]:
        """Return for each row (number of masked tokens predicted right, number of masked tokens)."""
        labels_BT = batch["labels"]
        masked_BT = labels_BT != IGNORED
        named_BT = torch.zeros_like(masked_BT)
        named_BT[masked_BT] = self.distilled_logits(outputs, batch)[0].argmax(-1) == labels_BT[masked_BT]
        return list(zip(named_BT.sum(1).tolist(), masked_BT.sum(1).tolist()))

    def decide(
        self, example: Text, rows: Sequence[Row], predictions: Sequence[tuple[int, int]], labels: Sequence[str]
    ) -> tuple[int, int]:
        """Sum the two numbers of `predict` over the chunks that begin in this text; there may be none."""
        return sum(named for named, _ in predictions), sum(masked for _, masked in predictions)

    def counts(self, example: Text, answer: tuple[int, int], language: str | None) -> np.ndarray:
        """Return float64 [2]: the number of masked tokens predicted right, and that of all masked tokens."""
        return np.array(answer, dtype=np.float64)

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        named, masked = totals.tolist()
        return {"accuracy": named / masked if masked else 0.0}

    def text_key(self, example: Text) -> str:
        return text_key(example.text)


def _chunks(
    examples: Sequence[Text], tokenizer: PreTrainedTokenizerBase, length: int
) -> Iterator[tuple[int, list[int]]]:
    """Yield (index of the text in which a chunk begins, the chunk's `length` token ids); the last may be shorter."""
    sizes_N: list[int] = []  # tokens of each text

    def tokenised() -> Iterator[list[int]]:
        starts = range(0, len(examples), TEXTS_AT_ONCE)
        first = rank() == 0
        for start in progress_bar(starts, "tokenising", unit_scale=TEXTS_AT_ONCE, leave=False, delay=2, show=first):
            texts = [example.text for example in examples[start : start + TEXTS_AT_ONCE]]
            for ids in tokenizer(texts, verbose=False)["input_ids"]:
                sizes_N.append(len(ids))
                yield ids

    chunks = [ids_T for ids_NT in cut(tokenised(), length, keep_rest=True) for ids_T in ids_NT]
    ends_N = np.cumsum(sizes_N)
    for number, ids_T in enumerate(chunks):
        yield int(np.searchsorted(ends_N, number * length, side="right")), ids_T.tolist()


def _mask(input_ids_BT: Tensor, masking: Mapping[str, Any], seed: int) -> tuple[Tensor, Tensor]:
    """Return masked ids and labels, both int64 [B, T]; mask at least one token of each row."""
    rows = len(input_ids_BT)
    maskable_BT = ~torch.isin(input_ids_BT, torch.tensor(masking["special"], device=input_ids_BT.device))
    masked_BT, labels_BT = mask_tokens(
        input_ids_BT,
        maskable_BT,
        seed=seed,
        rows=slice(0, rows),
        total_rows=rows,
        mask_token_id=masking["mask"],
        vocab_size=masking["vocabulary"],
        probability=PROBABILITY,
    )
    # Rows in which no token was masked: mask the first maskable one.
    none_B = (labels_BT == IGNORED).all(1).nonzero().flatten()
    first_B = maskable_BT[none_B].int().argmax(1)
    labels_BT[none_B, first_B] = input_ids_BT[none_B, first_B]
    masked_BT[none_B, first_B] = masking["mask"]
    return masked_BT, labels_BT
