"""A driver of its own process, to be killed: `python -m tests.rankings.driver <folder> <journal>`."""

import sys
from functools import partial
from pathlib import Path

from mint_ray.cluster import ray_session
from mint_ray.config import ClusterSection
from mint_ray.rankings.build import build_rankings
from mint_ray.storage import location
from tests.rankings.toys import WordScorer, hard_cases, toy_run

if __name__ == "__main__":
    folder, journal = location(sys.argv[1]), Path(sys.argv[2])
    run = toy_run(folder, hard_cases())
    with ray_session(ClusterSection(cpus=4)):
        run.carry_out("rankings", partial(build_rankings, load=partial(WordScorer, pause=0.3, journal=journal)))
