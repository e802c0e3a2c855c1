"""Test that fp32 masters are found wherever an engine without ZeRO keeps them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bistil_ds.distributed.gathering import full_fp32, link_masters


@pytest.mark.parametrize("flat", [False, True], ids=["one for each parameter", "one for each group"])
def test_masters_are_read_in_place_of_rounded_weights(flat: bool) -> None:
    torch.manual_seed(0)
    masters = [torch.randn(3, 4), torch.randn(5), torch.randn(2, 2)]
    parameters = [nn.Parameter(one.bfloat16()) for one in masters]
    groups = [[0, 1], [2]]
    optimizer = SimpleNamespace(fp16_groups=[[parameters[i] for i in group] for group in groups])
    if flat:
        optimizer.fp32_groups_flat = [
            torch.cat([masters[i].flatten() for i in group]).requires_grad_() for group in groups
        ]
    else:
        optimizer.fp32_groups = [[masters[i] for i in group] for group in groups]
    link_masters(optimizer)
    for parameter, master in zip(parameters, masters, strict=True):
        assert torch.equal(full_fp32(parameter), master)
        assert not torch.equal(full_fp32(parameter), parameter.float())
    with torch.no_grad():  # an update in place
        (optimizer.fp32_groups_flat[0] if flat else masters[0]).add_(1)
    assert torch.equal(full_fp32(parameters[0]), masters[0] + (1 if flat else 0))
