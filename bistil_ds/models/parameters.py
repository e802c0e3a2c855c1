"""Find a model's parameters by name, even if a prefix is missing, the model is wrapped or a weight is tied."""

from __future__ import annotations

from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """Return the transformers model inside a DeepSpeed engine or data-parallel wrapper, or the model itself."""
    while isinstance(inner := getattr(model, "module", None), nn.Module):
        model = inner
    return model


class ParameterNames:
    """Lookup of parameters by name: `bert.encoder…` finds `encoder…` in a bare `BertModel`, and vice versa."""

    def __init__(self, model: nn.Module) -> None:
        model = unwrap(model)
        self._prefix = str(getattr(model, "base_model_prefix", "")) + "."
        # A tied weight is found under each of its names.
        self._parameters = dict(model.named_parameters(remove_duplicate=False))

    def spellings(self, name: str) -> list[str]:
        """Return both spellings of a name: as it is, and with the base model's prefix removed or added."""
        return [name, name.removeprefix(self._prefix) if name.startswith(self._prefix) else self._prefix + name]

    def find(self, name: str) -> nn.Parameter | None:
        """Return the parameter called `name`, or None."""
        return next((self._parameters[n] for n in self.spellings(name) if n in self._parameters), None)

    def names_of(self, parameter: nn.Parameter) -> list[str]:
        """Return every name of a parameter (a tied one has several), each in both spellings."""
        own = [name for name, other in self._parameters.items() if other is parameter]
        return [spelling for name in own for spelling in self.spellings(name)]


def save_under_own_names(model: nn.Module) -> None:
    """Let `save_pretrained` write each weight under the name that it has in the model.

    Of some families (GTE, jina), transformers would write the fused weights of the original repository instead, under
    other names. Code that reads a file's weights by their names could then not find them: the `Trainer` that goes on
    from a checkpoint, sparse training that reads the base model's weights, `hash_weights`. transformers loads both.
    """
    unwrap(model)._weight_conversions = []  # type: ignore[assignment]


def saved_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return each parameter once, under the name that `save_pretrained` gives it.

    A tied weight has its name in the base model.
    """
    model = unwrap(model)
    tied_names = getattr(model, "all_tied_weights_keys", {})  # the names save_pretrained leaves out
    return {n: p for n, p in model.named_parameters(remove_duplicate=False) if n not in tied_names}
