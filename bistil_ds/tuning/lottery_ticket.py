"""LT-SFT (arXiv 2110.07560): a full stage finds the entries that move most; a sparse stage trains only these.

Each training stage has a Trainer and a folder of its own, and loads the model anew: weights, head, optimizer, schedule
and random state begin again. A stage hands its result to the next one as a sealed folder on disk. So a run can resume
in any stage. Once the result is sealed, the stage's checkpoints are deleted; its logs and `trainer_state.json` stay.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, TrainingArguments, set_seed

from bistil_ds.distributed import startup, universal
from bistil_ds.distributed.agreement import ask_rank_0, failing_together
from bistil_ds.distributed.gathering import full_fp32
from bistil_ds.distributed.partitions import full_size, write_entries
from bistil_ds.distributed.startup import wait_for_every_rank
from bistil_ds.errors import InputError
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.runs import checkpoints
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sparse.arguments import SparseArguments
from bistil_ds.sparse.base_weights import BaseWeights
from bistil_ds.sparse.deltas import attach, attached_to, check_base, load_dense
from bistil_ds.sparse.maskable import base_model_of, entries_to_train, is_maskable, maskable_parameters
from bistil_ds.sparse.modules import sparse_kind
from bistil_ds.sparse.penalty import penalise
from bistil_ds.sparse.selection import Selection, moved_most, random_entries, read_selection, write_selection
from bistil_ds.training.arguments import seals_of
from bistil_ds.training.kernels.choice import choose_kernels
from bistil_ds.tuning.stage import UNVALIDATED, Stage

if TYPE_CHECKING:
    from bistil_ds.training.base_trainer import BaseTrainer


class LotteryTicketTrainer:
    """Lottery-ticket sparse fine-tuning (SFT): trains K entries of a model, chosen by a full stage, and its head.

    Example:
        >>> from bistil_ds import LotteryTicketTrainer
        >>> tuning = LotteryTicketTrainer(load_model, make_trainer, args, SparseArguments(density=0.08), "mmt")
        >>> [stage.kind for stage in tuning.stages]
        ['full', 'sparse']

    `train` runs the stages and returns the SFT. By default there are two. The full stage trains the head and all
    maskable parameters from their start θ0 to θ1, and chooses the K entries with the largest |θ1 − θ0|. The sparse
    stage trains those K entries and the head, again from θ0. `sparse` may ask for several iterations of both stages,
    for random entries without a full stage, or for a single dense stage.

    Args:
        load_model: returns the model with its head, in fp32 (at ZeRO-3, partitioned as `from_pretrained` returns it).
            Each stage calls it once, after setting the same seed, so that a new head is the same each time. If it
            freezes parameters outside the base model, they stay frozen.
        make_trainer: (model, arguments, stage) → the `BaseTrainer` of the stage, which must train that model object
            with those arguments. After the stage, the trainer loses all attributes but `args` and `state`.
        args: arguments of the whole run; `args.output_dir` is the run folder. Each stage gets a copy with a folder and
            length of its own. A full stage neither validates nor reloads its best checkpoint.
        sparse: which entries are chosen, how many, and how long each stage is. A stage without a length lasts
            `args.num_train_epochs`.
        base_folder: folder with the base model's weights (safetensors), equal to the weights that `load_model` returns.
        metadata: metadata of the SFT (see `SftMetadata`); base model, base hash and density are added if missing.

    Source: LT-SFT (arXiv 2110.07560); BiStil (arXiv 2306.01709), section 3.2.
    """

    def __init__(
        self,
        load_model: Callable[[], PreTrainedModel],
        make_trainer: Callable[[PreTrainedModel, TrainingArguments, Stage], BaseTrainer],
        args: TrainingArguments,
        sparse: SparseArguments,
        base_folder: str | Path,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.load_model, self.make_trainer, self.args, self.sparse = load_model, make_trainer, args, sparse
        self.base_folder, self.seals = Path(base_folder), seals_of(args)
        self.metadata = {"base_model": str(base_folder), **(metadata or {})}
        kinds: list[Any] = ["dense"] if sparse.dense else ["full", "sparse"] * sparse.iterations
        if sparse.selection == "random" and not sparse.dense:
            kinds = ["sparse"]  # random entries need no full stage
        run = Path(str(args.output_dir))
        self.stages = [Stage(kind, n, run / f"stage-{n}-{kind}") for n, kind in enumerate(kinds, 1)]

    def train(self, resume: str | bool | None = None) -> SparseFineTuning:
        """Run the stages that are not finished yet; every rank takes part.

        Args:
            resume: True or "true": continue from the newest whole checkpoint or finished stage. A folder: continue from
                this checkpoint, which must be of the interrupted stage. The number of ranks may change if a step
                keeps its rows over all ranks. None: start anew; the run folder must hold no stage yet.

        Returns:
            The SFT, with fp32 differences at exactly K entries, and the head in `dense`. After a dense stage, `dense`
            has all trained tensors, and there are no differences.

        Raises:
            InputError: the run folder holds an earlier run and `resume` is None; `resume` is no whole checkpoint of the
                run; a step would have another number of rows than before; an earlier stage had another base model or
                K; `base_folder` has other weights than the model; or `sparse` does not fit the model.
            NonFiniteError: a stage met a loss, gradient or weight that is not finite; its result is not saved.
        """
        if not resume and (begun := [stage.folder for stage in self.stages if stage.folder.exists()]):
            raise InputError(f"{begun[0]} holds an earlier run: resume it, or choose another --output_dir")
        wait_for_every_rank()
        self.metadata.setdefault("base_hash", ask_rank_0(lambda: hash_weights(self.base_folder)))
        with choose_kernels(self.args).serving():
            for stage in self.stages:
                if not ask_rank_0(partial(stage.is_done, self.seals)):
                    self._run(stage, resume)
                    _free_memory()
                    resume = None
                ask_rank_0(stage.remove_checkpoints)  # also of a stage that an earlier, killed process finished
        return SparseFineTuning.load(self.stages[-1].result)

    def _run(self, stage: Stage, resume: str | bool | None) -> None:
        checkpoint = self._checkpoint(stage, resume)
        args = self._arguments(stage, checkpoint)  # made before the model: at ZeRO-3 they partition it
        set_seed(args.seed)
        model = self.load_model()
        k = self._k(stage, model)
        prepare = {"full": self._prepare_full, "sparse": self._prepare_sparse, "dense": lambda *_: None}[stage.kind]
        BaseWeights(model, self.base_folder).check(maskable_parameters(model))
        prepare(stage, model, k)
        if checkpoint and (deltas := attached_to(model)) is not None:
            check_base(SparseFineTuning.load(checkpoint), deltas.metadata)
        trainer = self.make_trainer(model, args, stage)
        if stage.kind != "dense":
            weight = self.sparse.full_l1 if stage.kind == "full" else self.sparse.sparse_l1
            penalise(trainer, weight, self.base_folder)
        set_seed(args.seed)  # so that training does not depend on what make_trainer drew
        trainer.train(resume_from_checkpoint=checkpoints.Checked(checkpoint) if checkpoint else None)
        self._finish(stage, trainer, k)
        _release(trainer)
        wait_for_every_rank()

    # Before a stage

    def _checkpoint(self, stage: Stage, resume: str | bool | None) -> Path | None:
        def find() -> Path | None:
            found = checkpoints.find_checkpoint(stage.folder, str(resume), self.seals)
            if found and self.args.deepspeed:
                universal.fit(found, self.args.world_size, self.args.deepspeed, self.seals)
            return found

        return ask_rank_0(find) if resume else None

    def _arguments(self, stage: Stage, checkpoint: Path | None) -> TrainingArguments:
        full = stage.kind == "full"
        steps = self.sparse.full_max_steps if full else self.sparse.sparse_max_steps
        epochs = self.sparse.full_epochs if full else self.sparse.sparse_epochs
        changes: dict[str, Any] = {
            "output_dir": str(stage.folder),
            "max_steps": steps or -1,
            "num_train_epochs": epochs or self.args.num_train_epochs,
        }
        if full:
            changes |= UNVALIDATED
        config = universal.universal_config(
            self.args.deepspeed, str(checkpoint) if checkpoint else None, self.args.world_size
        )
        return replace(self.args, **changes, **({"deepspeed": config} if config else {}))

    def _k(self, stage: Stage, model: PreTrainedModel) -> int:
        """Return how many entries are chosen by the end of this stage's iteration: all maskable ones if dense.

        Raises:
            InputError: `sparse` does not fit the model.
        """
        maskable = sum(map(full_size, maskable_parameters(model).values()))
        config = getattr(self.args, "hf_deepspeed_config", None)  # only exists with DeepSpeed
        self.sparse.check(maskable, 3 if config is not None and config.is_zero3() else 0, fp16=self.args.fp16)
        if self.sparse.dense:
            return maskable
        k = entries_to_train(self.sparse.density, self.sparse.k, maskable)
        self.metadata.setdefault("density", k / maskable)
        return k * -(-stage.number // 2) // self.sparse.iterations

    def _before(self, stage: Stage, kind: str) -> Stage | None:
        """Return the last stage of `kind` before `stage`; None if there is none."""
        return next((s for s in reversed(self.stages[: stage.number - 1]) if s.kind == kind), None)

    def _prepare_full(self, stage: Stage, model: PreTrainedModel, k: int) -> None:
        base_model = base_model_of(model)[1]
        for place, module in base_model.named_modules():
            if not is_maskable(base_model, place):
                module.requires_grad_(False)
            elif next(module.parameters(recurse=False), None) is not None:
                sparse_kind(module, place)  # raises for an unknown kind of module, before a long full stage
        if (earlier := self._before(stage, "sparse")) is None:
            return
        fine_tuning, base = SparseFineTuning.load(earlier.result), BaseWeights(model, self.base_folder)
        parameters = maskable_parameters(model)
        for name, diff in fine_tuning.sparse.items():
            start_K = base.of(name, parameters[name])[diff.indices_K.long()].float()
            write_entries(parameters[name], diff.indices_K, start_K + diff.values_K)
        load_dense(model, fine_tuning.dense)

    def _prepare_sparse(self, stage: Stage, model: PreTrainedModel, k: int) -> None:
        deltas = attach(model, self._selection(stage, model, k), self.metadata)
        if (earlier := self._before(stage, "sparse")) is not None:
            deltas.load(SparseFineTuning.load(earlier.result))

    def _selection(self, stage: Stage, model: PreTrainedModel, k: int) -> Selection:
        if (full := self._before(stage, "full")) is None:
            return random_entries(model, k, self.args.seed)
        selection, about = read_selection(full.result)
        expected = {"k": k, "base_hash": self.metadata["base_hash"]}
        if about != expected:
            raise InputError(f"{full.result} was chosen for {about}, not for {expected}: start a new run")
        return selection

    # After a stage

    def _finish(self, stage: Stage, trainer: BaseTrainer, k: int) -> None:
        if stage.kind == "full":
            earlier = self._before(stage, "full")
            kept = read_selection(earlier.result)[0] if earlier else None
            selection = moved_most(trainer.model, self.base_folder, k, kept)
            about = {"k": k, "base_hash": self.metadata["base_hash"]}
            self._seal_result(stage, lambda: write_selection(stage.result, selection, about))
            return
        deltas = attached_to(trainer.model)
        if deltas is not None:
            fine_tuning = deltas.fine_tuning()
        else:
            dense = {n: full_fp32(p) for n, p in trainer.model.named_parameters() if p.requires_grad}
            fine_tuning = SparseFineTuning("dense fine-tuning", {}, dense, {**self.metadata, "density": 1.0})
        self._seal_result(stage, lambda: fine_tuning.save(stage.result))

    def _seal_result(self, stage: Stage, write: Callable[[], None]) -> None:
        with failing_together():
            if startup.rank() == 0:
                checkpoints.make_room(stage.result)
                write()
                checkpoints.seal(stage.result, self.args.world_size, self.seals)


def _release(trainer: Any) -> None:
    """Free a trainer's engine, model and optimizer; the trainer keeps only `args` and `state`."""
    if trainer.is_deepspeed_enabled:
        trainer.model_wrapped.destroy()
    trainer.accelerator.free_memory()
    trainer.__dict__ = {"args": trainer.args, "state": trainer.state}


def _free_memory() -> None:
    """Break reference cycles so that the next stage can reuse the memory."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
