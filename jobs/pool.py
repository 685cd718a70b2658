"""Finished comparisons that differ in their seed alone, taken together: is an arm better, or was one training of it?"""

import argparse

from mint_ray.command import reported
from mint_ray.runs import plain_errors
from mint_ray.storage import location

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=location, nargs="+", help="run.dir of each, after jobs/compare.py")
    parser.add_argument("--to", type=location, required=True, help="where pooled.json and report.html are left")
    options = parser.parse_args()
    with reported(), plain_errors(options.to):
        from mint_ray.evaluation.pooling import pool

        pool(options.runs, options.to)
    print(f"Pooled: {options.to / 'report.html'}")
