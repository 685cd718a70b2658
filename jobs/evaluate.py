"""Grade the answers and write the report page. Leaves evaluation/ in the run directory."""

from mint_ray.command import run_stages


def work():
    from mint_ray.evaluation.evaluate import evaluate

    return evaluate


if __name__ == "__main__":
    run = run_stages(__doc__, {"evaluation": work})
    print(f"Report: {run.dir / 'evaluation' / 'report.html'}")
