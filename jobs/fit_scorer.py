"""Fit the upstream scorer on the training cases with Ray Train. Leaves scorer/ in the run directory."""

from mint_ray.command import run_stages


def work():
    from mint_ray.scorers.fitting.fit import fit_scorer

    return fit_scorer


if __name__ == "__main__":
    run_stages(__doc__, {"scorer": work})
