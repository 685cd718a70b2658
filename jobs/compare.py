"""Base, RAG, SFT, DPO, MINT and its ablations on one split, then the figures over all. Leaves arms/ and comparison/."""

from mint_ray.arms import check_settings, compare_arms, works
from mint_ray.command import parse_command, reported, session
from mint_ray.lock import sole_job
from mint_ray.runs import Run, plain_errors
from mint_ray.storage import remove

if __name__ == "__main__":
    config, fresh = parse_command(__doc__)
    run = Run(config)
    with reported():
        check_settings(config)
        with plain_errors(run.dir), sole_job(run.dir):
            for folder in ("arms", "comparison") if fresh else ():
                remove(run.dir / folder)
            with session(config, works()):
                compare_arms(run)
    print(f"Comparison: {run.dir / 'comparison' / 'report.html'}")
