"""Test that a checkpoint of DeepSpeed is converted for other ranks or another stage, once, and sealed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bistil_ds.distributed import universal
from bistil_ds.distributed.converter import OF_ZERO_2, OF_ZERO_3, fit_every_stage
from bistil_ds.errors import InputError
from bistil_ds.runs import checkpoints
from bistil_ds.runs.seals import Seals, write_seal

SEALS = Seals()
ZERO_2, ZERO_3 = ({"zero_optimization": {"stage": stage}} for stage in (2, 3))


def checkpoint(run: Path, step: int) -> Path:
    folder = run / f"checkpoint-{step}"
    (folder / "global_step").mkdir(parents=True)
    torch.save({"step": step}, folder / "global_step" / "optim_states.pt")
    checkpoints.seal(folder, 2, SEALS)
    return folder


def converter(run: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0, seal: bool = True) -> list[Path]:
    """Replace DeepSpeed's converter, which needs real states, with a stand-in; return the list of folders it writes."""
    written: list[Path] = []

    class Done:
        returncode, stderr = code, "no space left"

    def convert(command: list[str], **_: object) -> Done:
        written.append(Path(command[command.index("--output_folder") + 1]))
        written[-1].mkdir()
        for name in ("zero.pt", OF_ZERO_2, OF_ZERO_3):
            (written[-1] / name).write_bytes(b"universal")
        return Done()

    monkeypatch.setattr(universal.subprocess, "run", convert)
    if seal:
        (run / "checkpoint-5" / "latest").write_text("global_step")
        checkpoints.seal(run / "checkpoint-5", 2, SEALS)
    return written


def test_the_universal_form_is_sealed_too_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path, 5)
    written = converter(tmp_path, monkeypatch)
    (folder / "global_step_universal").mkdir()  # what a killed conversion leaves
    (folder / "global_step_universal" / "half.pt").write_bytes(b"")
    universal.fit(folder, 1, ZERO_2, SEALS)
    universal.fit(folder, 1, ZERO_2, SEALS)
    assert len(written) == 1
    names = {path.name for path in (folder / "global_step_universal").iterdir()}
    assert names == {"zero.pt", OF_ZERO_2, OF_ZERO_3}
    assert (folder / "latest_universal").read_text() == "global_step_universal"
    assert checkpoints.broken(folder) is None
    (folder / "global_step_universal" / "zero.pt").write_bytes(b"tampered!")
    assert "zero.pt: not the bytes" in str(checkpoints.broken(folder))


@pytest.mark.parametrize("name", ["x.pt", ".x.pt"])
def test_nothing_may_be_added_to_a_finished_universal_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = checkpoint(tmp_path, 5)
    converter(tmp_path, monkeypatch)
    universal.fit(folder, 1, ZERO_2, SEALS)
    (folder / "global_step_universal" / name).write_bytes(b"code")
    assert f"{name}: not a file that was sealed" in str(checkpoints.broken(folder))


def test_links_at_the_places_of_a_conversion_lead_nothing_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, outside = checkpoint(tmp_path, 5), tmp_path / "outside"
    converter(tmp_path, monkeypatch)
    outside.mkdir()
    (outside / "file").write_text("mine")
    for name in ("global_step_universal", "global_step_universal_partial", "global_step_partial"):
        (folder / name).symlink_to(outside)
    (folder / "latest_universal").symlink_to(outside / "file")
    universal.fit(folder, 1, ZERO_2, SEALS)
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("file", "mine")]
    assert checkpoints.broken(folder) is None


def test_a_file_that_changed_during_a_conversion_is_not_vouched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, 5)
    converter(tmp_path, monkeypatch)
    convert = universal.subprocess.run

    def change(*args: Any, **kwargs: Any) -> Any:
        (folder / "global_step" / "optim_states.pt").write_bytes(b"changed")
        return convert(*args, **kwargs)

    monkeypatch.setattr(universal.subprocess, "run", change)
    universal.fit(folder, 1, ZERO_2, SEALS)
    assert "optim_states.pt: not the bytes" in str(checkpoints.broken(folder))


def test_a_strangers_checkpoint_stays_unsigned_when_it_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, 5)
    converter(tmp_path, monkeypatch)
    assert SEALS.is_signed(folder)
    write_seal(folder, world_size=2)
    universal.fit(folder, 1, ZERO_2, Seals(trust=True))
    assert checkpoints.broken(folder) is None
    assert not SEALS.is_signed(folder)


def test_a_checkpoint_without_deepspeed_has_no_universal_form(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not written with DeepSpeed"):
        universal.fit(checkpoint(tmp_path, 5), 1, ZERO_2, SEALS)


def test_a_failed_conversion_leaves_the_checkpoint_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path, 5)
    converter(tmp_path, monkeypatch, code=1)
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match="no space left"):
        universal.fit(folder, 1, ZERO_2, SEALS)
    assert sorted(folder.rglob("*")) == before
    assert checkpoints.broken(folder) is None


def test_the_universal_form_is_only_asked_for_by_other_ranks_or_another_form(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5)
    (folder / "latest").write_text("global_step")
    config = tmp_path / "zero.json"
    config.write_text('{"zero_optimization": {"stage": 1}}')

    def asked(deepspeed: str | dict[str, Any] | None, ranks: int, where: Path | None = folder) -> bool:
        return universal.universal_config(deepspeed, str(where) if where else None, ranks) is not None

    assert not asked(str(config), ranks=2)
    assert not asked(ZERO_2, ranks=2)  # which writes what ZeRO-1 writes
    assert not asked(None, ranks=1)
    assert not asked(str(config), ranks=1, where=None)
    assert not asked({}, ranks=1)  # ZeRO-0 divides nothing
    assert asked(ZERO_3, ranks=2)
    assert universal.universal_config(str(config), str(folder), ranks=1) == {
        "zero_optimization": {"stage": 1},
        "checkpoint": {"load_universal": True},
    }
    (folder / "global_step" / OF_ZERO_3).touch()
    assert not asked(ZERO_3, ranks=2)
    assert asked(ZERO_2, ranks=2)


def test_a_universal_form_of_an_earlier_version_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path, 5)
    written = converter(tmp_path, monkeypatch)
    universal.fit(folder, 1, ZERO_2, SEALS)
    (folder / "global_step_universal" / OF_ZERO_3).unlink()
    checkpoints.seal(folder, 2, SEALS)
    with monkeypatch.context() as failing:
        converter(tmp_path, failing, code=1, seal=False)
        with pytest.raises(InputError, match="no space left"):
            universal.fit(folder, 1, ZERO_2, SEALS)
    assert checkpoints.broken(folder) is None
    universal.fit(folder, 1, ZERO_2, SEALS)
    assert len(written) == 2
    assert checkpoints.broken(folder) is None


def universal_form(folder: Path, *, of_zero_3: bool) -> Path:
    """Write what DeepSpeed's converter makes of one parameter, which had taken seven steps."""
    (folder / "zero" / "weight").mkdir(parents=True)
    value, step = torch.arange(6.0), torch.tensor(7.0)
    groups = [{"weight_decay": 0.1, "params": [0]}, {"weight_decay": 0.0, "params": []}]
    for kind in ("fp32", "exp_avg", "exp_avg_sq"):
        torch.save(value if of_zero_3 else {"param": value.view(2, 3)}, folder / "zero" / "weight" / f"{kind}.pt")
    about, state = {"ds_version": "1.2.3"}, {"loss_scaler": None, "param_groups": groups}
    if of_zero_3:
        torch.save({**about, "param_shapes": [{"weight": torch.Size([2, 3])}]}, folder / OF_ZERO_3)
        inner = {"state": {0: {"step": step, "exp_avg": value}}, "param_groups": groups}
        torch.save({**state, "optimizer_state_dict": inner}, folder / "zero" / "optimizer_state.pt")
    else:
        torch.save(about, folder / OF_ZERO_2)
        torch.save(step, folder / "zero" / "weight" / "step.pt")
        torch.save({**state, "ds_version": "1.2.3"}, folder / "zero" / "optimizer_state.pt")
    return folder


@pytest.mark.parametrize("of_zero_3", [True, False])
def test_every_stage_finds_what_it_reads(tmp_path: Path, of_zero_3: bool) -> None:
    folder = universal_form(tmp_path / "form", of_zero_3=of_zero_3)
    fit_every_stage(folder)
    assert all((folder / name).is_file() for name in (OF_ZERO_2, OF_ZERO_3))
    assert torch.load(folder / "zero" / "weight" / "step.pt") == 7
    for kind in ("fp32", "exp_avg", "exp_avg_sq"):
        assert torch.load(folder / "zero" / "weight" / f"{kind}.pt")["param"].equal(torch.arange(6.0).view(2, 3))
    state = torch.load(folder / "zero" / "optimizer_state.pt")
    assert state["ds_version"] == "1.2.3"
    assert [group["weight_decay"] for group in state["param_groups"]] == [0.1, 0.0]
    assert state["optimizer_state_dict"] == {"state": {0: {"step": 7}}, "param_groups": state["param_groups"]}


def test_each_group_has_its_own_weight_decay_and_each_state_its_own_steps(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5)
    (folder / "latest").write_text("global_step")
    universal_form(folder / "global_step_universal", of_zero_3=False)
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    optimizer = torch.optim.AdamW([{"params": [one]} for one in weights], weight_decay=0.1)
    step = torch.tensor(7.0)
    for one in weights:  # as DeepSpeed leaves them at ZeRO-3
        optimizer.state[one]["step"] = step

    class Engine:
        def __init__(self, universal: bool) -> None:
            self.optimizer = type("", (), {"optimizer": optimizer})
            self.load_universal_checkpoint = lambda: universal

    universal.mend_optimizer(Engine(False), folder)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.1]
    universal.mend_optimizer(Engine(True), folder)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    first, second = (optimizer.state[one]["step"] for one in weights)
    first += 1
    assert (first, second) == (8, 7)

    on_gpu = torch.nn.Parameter(torch.zeros(2, device="meta"))  # stands for one on a GPU
    engine = Engine(True)
    engine.optimizer.optimizer = fused = torch.optim.AdamW([{"params": [one]} for one in weights])
    for where, is_fused in (("meta", True), ("cpu", False)):
        fused.param_groups[0]["fused"] = is_fused
        fused.state[on_gpu]["step"] = torch.tensor(7.0)  # not of a group's parameter, as at ZeRO-3
        universal.mend_optimizer(engine, folder)
        assert fused.state[on_gpu]["step"].device.type == where

    class Counting(torch.optim.SGD):  # as DeepSpeed's optimizers, which count in plain numbers
        pass

    engine = Engine(True)
    engine.optimizer.optimizer = Counting([{"params": [one]} for one in weights])
    engine.optimizer.optimizer.state[weights[0]]["step"] = torch.tensor(7.0)
    universal.mend_optimizer(engine, folder)
    assert type(engine.optimizer.optimizer.state[weights[0]]["step"]) is int
