"""The overspending campaign: a thousand jobs against five dollars, seed after seed; see `faults/README.md`.

`python -m faults.overspend --seed 1 --seeds 50 --jobs 1000 --workers 4`
"""

import sys
import time
from dataclasses import replace

import uvloop

from faults.crew.asking import command_line
from faults.dag.process import only_complaints
from faults.overspend.campaign import Campaign, control, run
from faults.overspend.ground import ground
from faults.overspend.plants import EXPOSED_BY


def main() -> int:
    """Run what the command line asks for; 0 when everything is as it must be."""
    knobs = ("seed", "jobs", "workers", "slots", "worker_kills", "front_kills", "projector_kills", "stalls")
    parser = command_line("overspend", __doc__, Campaign(), *knobs)
    parser.add_argument("--seeds", type=int, default=1, help="so many, from the first one on")
    parser.add_argument("--plant", choices=list(EXPOSED_BY), help="one campaign against this bug, which it must find")
    parser.add_argument("--plants", choices=["too", "none"], default="too", help="planted bugs after the seeds")
    asked = vars(parser.parse_args())
    plants, seeds, only = asked.pop("plants"), asked.pop("seeds"), asked.pop("plant")
    only_complaints()
    began, bad = time.monotonic(), 0
    wanted = [only] if only else list(EXPOSED_BY) if plants == "too" else []
    with ground() as at:
        for seed in range(asked["seed"], asked["seed"] + (0 if only else seeds)):
            verdict = uvloop.run(run(replace(Campaign(**asked), seed=seed), at))
            bad += not verdict.clean
            print(
                f"{time.monotonic() - began:7.1f} s ",
                *verdict.lines(),
                sep="\n" if not verdict.clean else "  ",
                flush=True,
            )
        for plant in wanted:
            verdict = uvloop.run(control(plant, at, asked["seed"]))
            caught = verdict.counts[EXPOSED_BY[plant]] > 0
            bad += not caught
            print(f"planted {plant}: {'caught' if caught else 'NOT CAUGHT'}, {dict(verdict.counts)}", flush=True)
    print("no fault of any kind" if not bad else f"FAULTS in {bad} of {seeds + len(wanted)} runs, see above")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
