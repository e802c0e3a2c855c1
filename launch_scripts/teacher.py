"""Train a task teacher or a language SFT: `python launch_scripts/teacher.py --model MMT --task ner ...`."""

from bistil_ds.commands.teacher import main

if __name__ == "__main__":
    raise SystemExit(main())
