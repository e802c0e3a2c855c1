"""Run phase 1: `deepspeed launch_scripts/general.py --deepspeed ds_configs/zero2.json`, or plain `python`."""

from bistil_ds.commands.general import main

if __name__ == "__main__":
    raise SystemExit(main())
