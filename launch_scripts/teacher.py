"""Train a task teacher or language SFT: `python` or `deepspeed launch_scripts/teacher.py --model MMT --task ner`."""

from bistil_ds.commands.teacher import main

if __name__ == "__main__":
    raise SystemExit(main())
