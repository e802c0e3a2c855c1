"""Find a model's parameters by name, even if a prefix is missing, the model is wrapped or the weight is tied."""

from __future__ import annotations

from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """Return the transformers model inside a DeepSpeed engine or a data-parallel wrapper; any other model as it is."""
    while isinstance(inner := getattr(model, "module", None), nn.Module):
        model = inner
    return model


class ParameterNames:
    """Lookup of parameters by name: `bert.encoder…` finds `encoder…` in a bare `BertModel`, and the other way round."""

    def __init__(self, model: nn.Module) -> None:
        model = unwrap(model)
        self._prefix = str(getattr(model, "base_model_prefix", "")) + "."
        # A tied weight is found under each of its names.
        self._parameters = dict(model.named_parameters(remove_duplicate=False))

    def spellings(self, name: str) -> list[str]:
        """Return the names of one parameter: as given, then with the base model's prefix taken off or put on."""
        return [name, name.removeprefix(self._prefix) if name.startswith(self._prefix) else self._prefix + name]

    def find(self, name: str) -> nn.Parameter | None:
        """Return the parameter called `name`, or None."""
        return next((self._parameters[n] for n in self.spellings(name) if n in self._parameters), None)

    def names_of(self, parameter: nn.Parameter) -> list[str]:
        """Return every name of a parameter, tied ones included, each in both spellings."""
        own = [name for name, other in self._parameters.items() if other is parameter]
        return [spelling for name in own for spelling in self.spellings(name)]


def saved_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return each parameter once, under the name that `save_pretrained` gives it.

    A tied weight goes by its name in the base model.
    """
    model = unwrap(model)
    tied_names = getattr(model, "all_tied_weights_keys", {})  # the names save_pretrained leaves out
    return {n: p for n, p in model.named_parameters(remove_duplicate=False) if n not in tied_names}
