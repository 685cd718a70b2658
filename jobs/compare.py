"""Base, RAG, SFT, DPO, MINT and its ablations on one split, then the figures over all. Leaves arms/ and comparison/."""

from mint_ray.arms import check_settings, clear_arms, compare_arms, works
from mint_ray.command import parse_command, session, working_in
from mint_ray.readiness import check_ready
from mint_ray.runs import Run

if __name__ == "__main__":
    config, fresh = parse_command(__doc__)
    run = Run(config)
    with working_in(run):
        check_settings(config)
        if fresh:
            check_ready(config, works())  # before anything is lost
            clear_arms(run)
        with session(config, works()):
            compare_arms(run)
    print(f"Comparison: {run.dir / 'comparison' / 'report.html'}")
