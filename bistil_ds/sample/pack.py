"""Put a model that `bistil-pretrain` trained on the sample into the package: `python -m bistil_ds.sample.pack RUN`.

The weights are kept in half precision. `recipe.json` keeps how the model was made: what the run's record says, without
folders of the machine.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from bistil_ds.models.model_card import CARD_FILE
from bistil_ds.runs.record import RunRecord
from bistil_ds.sample.cached import SHIPPED
from bistil_ds.sample.mmt import WEIGHTS

COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json", CARD_FILE)
RECIPE = "recipe.json"


def pack(run: Path, folder: Path) -> None:
    """Write the model of a run's folder to `folder`, with its recipe.

    Raises:
        InputError: `run` has no whole record of a run.
    """
    record = RunRecord.open(run).content
    folder.mkdir(exist_ok=True)
    for name in COPIED:
        shutil.copy(run / name, folder)
    weights = {name: tensor.to(torch.float16) for name, tensor in load_file(run / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # the library makes files that only their owner may read
    arguments = {name: value for name, value in record["arguments"].items() if name != "output_dir"}
    recipe = {name: record[name] for name in ("versions", "hardware", "started", "finished", "results")}
    texts = {language: found["sha256"] for language, found in record["data"].items()}
    recipe = {"command": "bistil-pretrain", "arguments": arguments, "texts_sha256": texts, **recipe}
    (folder / RECIPE).write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    pack(Path(sys.argv[1]), SHIPPED)
