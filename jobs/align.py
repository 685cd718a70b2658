"""Align the language model to the pairs by ORPO on Ray Train. Leaves alignment/ in the run directory."""

from mint_ray.command import run_stages


def work():
    from mint_ray.alignment.align import align

    return align


if __name__ == "__main__":
    run_stages(__doc__, {"alignment": work})
