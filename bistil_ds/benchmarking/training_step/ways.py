"""Run a training step of phase 1 in three ways: without distillation losses, as published, and with our losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, BertConfig, PretrainedConfig, PreTrainedModel

from bistil_ds.benchmarking.harness.timing import Way
from bistil_ds.benchmarking.models.shapes import config_of, student_name
from bistil_ds.distillation.distiller import Distiller
from bistil_ds.student.layer_map import choose_layers, even_map
from bistil_ds.student.layers import shallow_config
from bistil_ds.training.graphs.replay import WARM_UP, Replayed

WAYS = ("floor", "eager", "ours")


@dataclass(frozen=True)
class Shape:
    """Sizes of models and batch; by default those of mBERT's encoder with a trimmed vocabulary.

    `mmt` names an MMT among the shapes of `benchmarking.models.shapes`; its layers, width and heads are then taken in
    place of the fields'. No vocabulary head runs. So the size of the vocabulary changes memory, but hardly the time of
    forward and backward.
    """

    length: int
    batch: int = 8
    layers: int = 12
    width: int = 768
    heads: int = 12
    vocabulary: int = 30_000
    mmt: str | None = None

    def model(self, factor: int, device: torch.device, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        """Return a model of this shape with every `factor`-th layer, random weights and no dropout."""
        whole = self._config()
        config = shallow_config(whole, choose_layers(whole, factor))
        model: PreTrainedModel = AutoModelForMaskedLM.from_config(config, dtype=torch.float32)
        return model.to(device, dtype)

    def _config(self) -> PretrainedConfig:
        if self.mmt is not None:
            return config_of(student_name(self.mmt, 1, self.vocabulary))
        return BertConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.width,
            max_position_embeddings=max(512, self.length),
        )

    def inputs(self, device: torch.device) -> dict[str, Tensor]:
        """Return a batch of random tokens, int64 [batch, length], without padding."""
        return {"input_ids": torch.randint(self.vocabulary, (self.batch, self.length), device=device)}


class Steps:
    """The three ways of running a step; they share one student, one teacher and one batch."""

    def __init__(self, student: PreTrainedModel, teacher: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
        self.student, self.teacher, self.inputs = student, teacher, inputs
        self.layer_map = even_map(teacher.config, student.config.num_hidden_layers)
        self.distiller = Distiller(student, teacher, self.layer_map)
        self.recording = student.config._attn_implementation  # attention that hands queries and keys to the distiller
        self.encoder: nn.Module = student.base_model  # `floor` and `eager` call it
        self.trained: nn.Module = student
        self.learn: Callable[[Tensor], object] = Tensor.backward

    def under(self, wrapped: Any) -> None:
        """From now on, run the student's encoder through `wrapped`, its DeepSpeed engine.

        Steps then include the optimizer's update.
        """
        self.encoder = self.trained = wrapped

        def learn(loss: Tensor) -> None:
            wrapped.backward(loss)
            wrapped.step()

        self.learn = learn

    def way(self, name: str) -> Way:
        """Return the way called `floor`, `eager` or `ours`."""
        attention = {"floor": "sdpa", "eager": "eager", "ours": self.recording}[name]
        return Way(getattr(self, name), lambda: self._prepare(attention))

    def with_teacher(self, teacher: PreTrainedModel, run_teacher: nn.Module | None = None) -> Way:
        """Return our way with another teacher; `run_teacher`, if given, is called instead of the teacher."""
        distiller = Distiller(self.student, teacher, self.layer_map, run_teacher=run_teacher)
        return Way(lambda: self._distil(distiller), lambda: self._prepare(self.recording))

    def compiled(self, backend: str) -> Way:
        """Return our way with both models compiled by a backend of `torch.compile`."""
        both = (torch.compile(model, backend=backend) for model in (self.teacher, self.trained))
        teacher, student = (cast("nn.Module", model) for model in both)
        distiller = Distiller(self.student, self.teacher, self.layer_map, run_teacher=teacher)
        return Way(lambda: self.learn(distiller(student, self.inputs).total), lambda: self._prepare(self.recording))

    def graphed(self) -> Way:
        """Return our way, forward and backward, as one CUDA graph that is replayed; on a CPU it is the graph's twin.

        Raises:
            RuntimeError: the step cannot be recorded.
        """
        trained = [parameter for parameter in self.student.parameters() if parameter.requires_grad]

        def losses_and_gradients() -> tuple[Tensor, ...]:
            total = self.distiller(self.trained, self.inputs).total
            return total.detach(), *torch.autograd.grad(total, trained)

        replayed = Replayed(losses_and_gradients, trained[0].device, compared=1)
        way = Way(replayed, lambda: self._prepare(self.recording))
        for _ in range(WARM_UP + 1):  # the last is the first replay
            way.prepare()
            way.step()
        if replayed.failure:
            raise RuntimeError(replayed.failure)
        return way

    def _prepare(self, attention: str) -> None:
        self.student.zero_grad(set_to_none=True)
        self.student.set_attn_implementation(attention)
        self.teacher.set_attn_implementation(attention)

    def floor(self) -> None:
        """Run the teacher forward and the student forward and backward, without a distillation loss."""
        with torch.no_grad():
            self.teacher.base_model(**self.inputs)
        self.learn(self.encoder(**self.inputs).last_hidden_state.mean())

    def eager(self) -> None:
        """Run the step as published: eager attention returns whole maps, a boolean mask picks the entries to compare.

        The loss is the mean over layer pairs of the MSE of maps, plus the mean of the MSE of hidden states.
        """
        wanted: dict[str, Any] = {"output_attentions": True, "output_hidden_states": True}
        with torch.no_grad():
            teacher = self.teacher.base_model(**self.inputs, **wanted)
        student = self.encoder(**self.inputs, **wanted)
        maps = []
        for student_map, layer in zip(student.attentions, self.layer_map):
            teacher_map = teacher.attentions[layer]
            real = teacher_map != 0
            maps.append(nn.functional.mse_loss(student_map.masked_select(real), teacher_map.masked_select(real)))
        targets = [teacher.hidden_states[i] for i in (0, *(layer + 1 for layer in self.layer_map))]
        states = [nn.functional.mse_loss(s, t) for s, t in zip(student.hidden_states, targets)]
        self.learn(torch.stack(maps).mean() + torch.stack(states).mean())

    def ours(self) -> None:
        """Run the step with our losses, by `Distiller`."""
        self._distil(self.distiller)

    def _distil(self, distiller: Distiller) -> None:
        self.learn(distiller(self.trained, self.inputs).total)


def random_steps(shape: Shape, device: torch.device, dtype: torch.dtype = torch.float32) -> Steps:
    """Return steps on random weights, which suffice for time and memory. The student has half the teacher's layers."""
    torch.manual_seed(0)
    student, teacher = shape.model(2, device, dtype), shape.model(1, device, dtype)
    return Steps(student.train(), teacher.eval(), shape.inputs(device))


def single_step(name: str, shape: Shape, device: str) -> Callable[[], None]:
    """Return a function that runs a step in one way; its memory is measured in a process that runs nothing else."""
    way = random_steps(shape, torch.device(device)).way(name)

    def step() -> None:
        way.prepare()
        way.step()

    return step
