"""Test the command line: help, recipes, flags that override recipes, and the low cost of importing the package."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import bistil_ds
from bistil_ds.commands import task, teacher
from bistil_ds.commands.general import COMMAND, main
from bistil_ds.console import cli
from bistil_ds.console.progress import progress_bar, share_bar
from bistil_ds.errors import InputError, NonFiniteError, Notice, OtherRankError, Preempted, ProductError
from bistil_ds.tuning.arguments import TaskDataArguments

REPOSITORY = Path(__file__).parents[2]
RECIPES = sorted((REPOSITORY / "launch_scripts" / "recipes").glob("*.yaml"))


def help_of(
    flag: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    main: Callable[[Sequence[str]], int] = main,
) -> str:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as stop:
        main([flag])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_help_shows_the_usual_flags_in_groups(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = help_of("--help", capsys, monkeypatch)
    titles = ["teacher, text and student", "losses", "training:", "speed and memory:", "run:"]
    places = [page.index(f"\n{title}") for title in titles]
    assert places == sorted(places)
    assert page.count("\n") < 110
    for flag in ("--teacher_model MODEL", "--layer_reduction_factor N", "--max_steps N", "--deepspeed FILE", "--bf16 "):
        assert f"  {flag}" in page
    assert "--adam_beta1" not in page
    assert "--teacher-model" not in page
    assert "default: None" not in page


def test_help_all_shows_every_flag(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    page = help_of("--help_all", capsys, monkeypatch)
    for kind in COMMAND.flags:
        for name in kind.__dataclass_fields__:  # type: ignore[attr-defined]
            assert f"--{name}" in page or name in ("_n_gpu", "distributed_state", "deepspeed_plugin"), name


@pytest.mark.parametrize("tune", [task.main, teacher.main])
@pytest.mark.parametrize("flag", ["--help", "--help_all"])
def test_task_trainings_help_hides_the_lengths_that_it_refuses(
    tune: Callable[..., int], flag: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = help_of(flag, capsys, monkeypatch, tune)
    assert "  --sparse_max_steps N" in page
    assert "  --sparse_epochs X" in page
    assert "--max_steps" not in page
    assert "--num_train_epochs" not in page


def test_the_opposite_of_a_switch_says_what_it_turns_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = help_of("--help", capsys, monkeypatch, task.main).splitlines()
    assert [line.split() for line in lines if "--no_" in line] == [
        [f"--no_{name}", "Turn", "off", f"--{name}."] for name in ("normalise", "upsample")
    ]


def test_a_preset_stands_for_flags_and_flags_beside_it_count(tmp_path: Path) -> None:
    words = ["--preset", "distilmbert", "--mlm_weight", "9"]
    ns = cli.parse(words, COMMAND.flags, COMMAND.description, COMMAND.presets)
    assert (ns.preset, ns.hidden_loss, ns.logit_weight, ns.mlm_weight) == ("distilmbert", "cosine", "5", "9")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("preset: minilmv2\nhidden_weight: 3\n")
    ns = cli.parse([str(recipe), "--max_steps", "7"], COMMAND.flags, COMMAND.description, COMMAND.presets)
    assert (ns.hidden_weight, ns.attention_weight, ns.relation_weight, ns.max_steps) == ("3", "0", "1", 7)
    ns = cli.parse(["--preset", "best"], COMMAND.flags, COMMAND.description, COMMAND.presets)
    assert (ns.learning_rate, ns.attention_weight) == (5e-4, "0")
    with pytest.raises(InputError, match="--preset"):
        cli.parse(["--preset", "other"], COMMAND.flags, COMMAND.description, COMMAND.presets)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_understood(recipe: Path) -> None:
    ns = cli.parse([str(recipe)], COMMAND.flags, COMMAND.description)
    assert (ns.max_steps, ns.per_device_train_batch_size, ns.max_length) == (200_000, 8, 256)
    assert (ns.learning_rate, ns.vocab_threshold, ns.lr_scheduler_type) == (1e-4, 1e-6, "linear")
    assert ns.layer_reduction_factor == int(recipe.stem[-1])


def test_there_are_recipes_for_both_families() -> None:
    assert {path.name.split("-")[0] for path in RECIPES} == {"mbert", "xlmr"}


def test_flags_override_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "my recipe.yaml"
    recipe.write_text("max_steps: 7\nbf16: true\nlearning_rate: 1e-3\nseed:\n", encoding="utf-8")
    ns = cli.parse([str(recipe), "--max_steps", "9"], COMMAND.flags, COMMAND.description)
    assert (ns.max_steps, ns.bf16, ns.learning_rate, ns.seed) == (9, True, 1e-3, 42)


def test_a_mapping_in_a_recipe_stands_for_pairs(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("label_map: {DATE: O, PERSON: PER}\ntrain_file: [a.txt, b.txt]\n", encoding="utf-8")
    ns = cli.parse([str(recipe)], (TaskDataArguments,), COMMAND.description)
    assert (ns.label_map, ns.train_file) == (["DATE=O", "PERSON=PER"], ["a.txt", "b.txt"])


def test_only_true_and_false_are_booleans_in_a_recipe_and_no_is_norwegian(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "text: {no: no.txt, en: en.txt}\ntarget_language: no\neval_strategy: 'no'\nbf16: TRUE\nfp16: no\n"
    )
    ns = cli.parse([str(recipe)], COMMAND.flags, COMMAND.description)
    assert (ns.text, ns.target_language) == (["no=no.txt", "en=en.txt"], "no")
    assert (ns.eval_strategy, ns.bf16, ns.fp16) == ("no", True, False)
    recipe.write_text("eval_strategy: no\n")
    assert cli.parse([str(recipe)], COMMAND.flags, COMMAND.description).eval_strategy == "no"


@pytest.mark.parametrize("form", ["flags", "recipe"])
def test_a_pair_may_begin_with_a_number_below_zero(tmp_path: Path, form: str) -> None:
    (tmp_path / "recipe.yaml").write_text('label_map: {0: neutral, -1: "-"}\n')
    argv = {"flags": ["--label_map", "0=neutral", "-1=-"], "recipe": [str(tmp_path / "recipe.yaml")]}[form]
    assert cli.parse(argv, (TaskDataArguments,), "").label_map == ["0=neutral", "-1=-"]


def test_so_may_a_single_value() -> None:
    assert cli.parse(["--run_name", "-1=x"], COMMAND.flags, "").run_name == "-1=x"


def test_a_recipe_works_behind_the_launchers_own_flag(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("max_steps: 7\n", encoding="utf-8")
    assert cli.parse(["--local_rank=1", str(recipe)], COMMAND.flags, COMMAND.description).max_steps == 7


def test_flags_are_not_guessed_from_their_beginning() -> None:
    with pytest.raises(InputError, match="--max_step"):
        cli.parse(["--max_step", "3"], COMMAND.flags, COMMAND.description)


def test_other_ranks_leave_the_line_to_rank_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise InputError("no\nsuch")

    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert cli.run(fails) == 2
    assert capsys.readouterr().err == "error: no such\n"
    assert not slept
    monkeypatch.setenv("RANK", "1")
    assert cli.run(fails) == 2
    assert capsys.readouterr().err == ""
    assert slept  # the wait lets rank 0 print before it is killed


def test_importing_the_package_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, bistil_ds; sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names_are_there() -> None:
    names = {"DistillationTrainer", "LotteryTicketTrainer", "SparseFineTuning"}
    names |= {"build_student", "evaluate", "trim_vocabulary", "distil_general", "distil_task", "tune_teacher"}
    names |= {"export_model", "trim_pretrained"}
    assert {getattr(bistil_ds, name).__name__ for name in bistil_ds.__all__} == names
    with pytest.raises(AttributeError, match="no_such_name"):
        bistil_ds.no_such_name  # noqa: B018


def test_importing_the_command_starts_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys; before = dict(os.environ); import bistil_ds.commands.general, torch\n"
        "assert dict(os.environ) == before\n"
        "assert 'deepspeed' not in sys.modules and not torch.distributed.is_initialized()\n"
        "assert not torch.cuda.is_initialized()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
    assert list(tmp_path.iterdir()) == []


EVIL = "\x1b]0;owned\x07\x1b[31m\u202e"
SHOWN = r"\x1b]0;owned\x07\x1b[31m\u202e"


@pytest.mark.parametrize(
    ("error", "code"),
    [(InputError(EVIL), 2), (OSError(errno.ENAMETOOLONG, "too long", EVIL), 2), (Preempted(EVIL), Preempted.CODE)],
)
def test_a_name_in_an_error_does_not_drive_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.run(fail) == code
    said = capsys.readouterr().err
    assert SHOWN in said
    assert said.rstrip("\n").isprintable()


def test_neither_does_the_reason_of_a_failed_run() -> None:
    def fail() -> None:
        raise SystemExit(f"error: {EVIL}")

    with pytest.raises(SystemExit) as stop:
        cli.run(fail)
    assert stop.value.code == f"error: {SHOWN}"


def test_neither_do_notices_and_bars(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> None:
        cli.parse([], [TaskDataArguments], "A command.")
        warnings.warn(EVIL, Notice, stacklevel=1)
        with share_bar() as move:
            move(0.5, EVIL)
        list(progress_bar([1], EVIL))

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.run(main) == 0
    said = capsys.readouterr().err
    assert said.count(SHOWN) >= 3
    assert EVIL not in said


def test_other_errors_of_the_system_pass() -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "input or output", "x")

    with pytest.raises(OSError, match="input or output"):
        cli.run(fail)


BOMBS = {
    "deep": ("seed: " + "[" * 100_000, "more than 20"),
    "deep blocks": ("\n".join(f"{' ' * depth}a:" for depth in range(30)), "more than 20"),
    "aliases": (
        "a: &a0 [x]\n" + "".join(f"b{n}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)),
        "values",
    ),
    "merges": (
        "a0: &a0 {x: 1}\n" + "".join(f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * 9)}]}}\n" for n in range(9)),
        "more than 100,000 values",
    ),
    "a list that holds itself": ("train_file: &a [*a]", "not YAML"),
    "code": ("seed: !!python/object/apply:os.system ['true']", "not YAML"),
    "large": ("#" * 2**21, "larger than"),
    "lists in lists": ("train_file: [[a]]", "train_file has a list or mapping inside of another"),
    "not UTF-8": ("\udcff", "cannot be read"),
    "control characters": ("seed: \x1b[31m", "not YAML"),
    "a name": ('"\\e[31m": 1', r"no flag is called '\x1b[31m'"),
}


@pytest.mark.parametrize(("content", "said"), BOMBS.values(), ids=BOMBS)
def test_a_hostile_recipe_is_one_line(
    content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert cli.run(lambda: cli.parse([str(recipe)], (TaskDataArguments,), "") and None) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {recipe}: ")
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        (NonFiniteError, cli.AGREED_SECONDS),
        (ProductError, cli.AGREED_SECONDS),
        (OtherRankError, cli.RANK_0_SECONDS),
    ],
)
@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_every_rank_raises_at_once_is_one_line_on_rank_0_and_exit_code_1(
    rank: str,
    kind: type[Exception],
    seconds: float,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(cli.time, "sleep", waited.append)

    def train() -> None:
        raise kind("non-finite loss at step 3,\nrank 0")

    assert cli.run(train) == 1
    assert capsys.readouterr().err == ("error: non-finite loss at step 3, rank 0\n" if rank == "0" else "")
    assert waited == ([] if rank == "0" else [seconds])
