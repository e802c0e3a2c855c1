"""List all benchmarks, one entry each, in the order of the report's chapters.

The commands, their help, the report and the comparison are made from these entries. A new benchmark needs a folder, an
entry here, and a script in `benchmarks/`.
"""

from __future__ import annotations

from bistil_ds.benchmarking.claims import flags as claims
from bistil_ds.benchmarking.claims.page import write_page
from bistil_ds.benchmarking.claims.plots import claims_plots
from bistil_ds.benchmarking.claims.tables import claims_grids
from bistil_ds.benchmarking.corpus import flags as corpus
from bistil_ds.benchmarking.corpus.tables import corpus_grids, corpus_values
from bistil_ds.benchmarking.energy import flags as energy
from bistil_ds.benchmarking.energy.tables import energy_grids, energy_plots, energy_values
from bistil_ds.benchmarking.flops import flags as flops
from bistil_ds.benchmarking.flops.count import flops_grids
from bistil_ds.benchmarking.full_size import flags as full_size
from bistil_ds.benchmarking.full_size.flags import full_size_grids, full_size_values
from bistil_ds.benchmarking.gpu.flags import ENTRY as GPU
from bistil_ds.benchmarking.harness.benchmark import Benchmark
from bistil_ds.benchmarking.kernels import flags as kernels
from bistil_ds.benchmarking.kernels import resources, upstream
from bistil_ds.benchmarking.kernels.files import failures, kernel_grids, kernel_values, write_files
from bistil_ds.benchmarking.kernels.resources import resources_grids, write_table
from bistil_ds.benchmarking.kernels.upstream import upstream_grids
from bistil_ds.benchmarking.latency import flags as latency
from bistil_ds.benchmarking.latency.plots import latency_plots
from bistil_ds.benchmarking.latency.tables import latency_grids, latency_values
from bistil_ds.benchmarking.memory import flags as memory
from bistil_ds.benchmarking.memory.tables import memory_grids, memory_plots, memory_values
from bistil_ds.benchmarking.scaling import flags as scaling
from bistil_ds.benchmarking.scaling.compute import scaling_grids
from bistil_ds.benchmarking.training_step import flags as throughput
from bistil_ds.benchmarking.training_step import sparse_flags as sparse_stage
from bistil_ds.benchmarking.training_step.measure import throughput_grids, throughput_values
from bistil_ds.benchmarking.training_step.sparse import sparse_grids, sparse_values

ENTRIES = (
    Benchmark(
        name="claims",
        title="Quality",
        description="BiStil's claims: zero-shot quality of teacher, students and baselines, by the commands a user "
        "types.",
        flags=claims.Flags,
        plan=claims.plan,
        tables=claims_grids,
        plots=claims_plots,
        files=write_page,
        failures=claims.failures,
    ),
    Benchmark(
        name="latency",
        title="Latency",
        description="Latency of MMTs, their students and other small models: percentiles, and time over the MMT's, "
        "pair by pair.",
        flags=latency.Flags,
        plan=latency.plan,
        tables=latency_grids,
        plots=latency_plots,
        values=latency_values,
    ),
    Benchmark(
        name="memory",
        title="Memory",
        description="Memory of MMTs, their students and other small models: parameters, folder, load time, peaks.",
        flags=memory.Flags,
        plan=memory.plan,
        tables=memory_grids,
        plots=memory_plots,
        values=memory_values,
    ),
    Benchmark(
        name="energy",
        title="Energy",
        description="Energy of MMTs, their students and other small models: joules a sentence, from counters, idle "
        "power subtracted.",
        flags=energy.Flags,
        plan=energy.plan,
        tables=energy_grids,
        plots=energy_plots,
        values=energy_values,
    ),
    Benchmark(
        name="flops",
        title="Operations",
        description="Operations of MMTs, their students and other small models: a forward pass, and a phase-1 step "
        "with our losses.",
        flags=flops.Flags,
        plan=flops.plan,
        tables=flops_grids,
    ),
    Benchmark(
        name="scaling",
        title="Scaling",
        description="What phase 1 needs on 1 to 1,024 GPUs, for XLM-R base to XXL: memory of each GPU and bytes each "
        "sends, by ZeRO stage.",
        flags=scaling.Flags,
        plan=scaling.plan,
        tables=scaling_grids,
    ),
    Benchmark(
        name="throughput",
        title="A training step",
        description="Tokens/s, MFU and peak memory of a phase-1 training step, against its floor and the published "
        "way in plain PyTorch.",
        flags=throughput.Flags,
        plan=throughput.plan,
        tables=throughput_grids,
        values=throughput_values,
    ),
    Benchmark(
        name="sparse_stage",
        title="The sparse stage",
        description="The sparse stage beside dense fine-tuning, in seconds and bytes, on a student of mBERT's width.",
        flags=sparse_stage.Flags,
        plan=sparse_stage.plan,
        tables=sparse_grids,
        values=sparse_values,
    ),
    Benchmark(
        name="kernels",
        title="Kernels",
        description="Time, memory and achieved rates of every kernel, beside plain PyTorch and others that do the "
        "same.",
        flags=kernels.Flags,
        plan=kernels.plan,
        tables=kernel_grids,
        values=kernel_values,
        files=write_files,
        failures=failures,
    ),
    Benchmark(
        name="kernel_resources",
        title="Resources of kernels",
        description="What each Triton kernel's machine code needs on NVIDIA's sm_80 and sm_90, and on AMD's gfx942 and "
        "gfx950, compiled ahead of time: no GPU is used.",
        flags=resources.Flags,
        plan=resources.plan,
        tables=resources_grids,
        files=write_table,
    ),
    Benchmark(
        name="kernel_upstream",
        title="Upstream gradients",
        description="What the hidden-state and attention losses gain on a CPU from knowing their upstream gradient.",
        flags=upstream.Flags,
        plan=upstream.plan,
        tables=upstream_grids,
    ),
    Benchmark(
        name="full_size",
        title="Full size",
        description="Seconds and peak memory of trimming, building and one training step at the size of XLM-R-base "
        "and mBERT.",
        flags=full_size.Flags,
        plan=full_size.plan,
        tables=full_size_grids,
        values=full_size_values,
    ),
    Benchmark(
        name="corpus",
        title="Large corpora",
        description="Seconds and memory of phase 1's text preparation, under a memory limit, and how they grow with "
        "text, vocabulary and ranks.",
        flags=corpus.Flags,
        plan=corpus.plan,
        tables=corpus_grids,
        values=corpus_values,
    ),
    GPU,
)
BENCHMARKS = {entry.name: entry for entry in ENTRIES}
