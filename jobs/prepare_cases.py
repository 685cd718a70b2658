"""Read the corpus into cases, split by group. Leaves cases/ in the run directory."""

from mint_ray.command import run_stages


def work():
    from mint_ray.corpora.prepare import prepare_cases

    return prepare_cases


if __name__ == "__main__":
    run_stages(__doc__, {"cases": work})
