"""Convert a DeepSpeed checkpoint to its universal form, without running code that the checkpoint holds.

    python -m bistil_ds.distributed.converter --input_folder CHECKPOINT/TAG --output_folder FOLDER

The flags are those of `deepspeed.checkpoint.ds_to_universal`.
"""

from __future__ import annotations

import multiprocessing

from bistil_ds.distributed.weights_only import weights_only


def main() -> None:
    """Convert the checkpoint that the flags name."""
    from deepspeed.checkpoint import ds_to_universal

    multiprocessing.set_start_method("fork")  # the converter's workers must inherit the limit that `weights_only` sets
    with weights_only():
        ds_to_universal.main(ds_to_universal.parse_arguments())


if __name__ == "__main__":
    main()
