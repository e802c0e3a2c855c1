"""Run phase 2: `deepspeed launch_scripts/task.py --deepspeed ds_configs/zero2.json --student ...`, or `python`."""

from bistil_ds.commands.task import main

if __name__ == "__main__":
    raise SystemExit(main())
