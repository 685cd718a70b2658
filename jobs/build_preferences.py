"""Score every case with Ray Data and write preference pairs. Leaves preferences/ in the run directory."""

from mint_ray.command import run_stages


def work():
    from mint_ray.preferences.build import build_preferences

    return build_preferences


if __name__ == "__main__":
    run_stages(__doc__, {"preferences": work})
