"""Ask the base and the aligned model about the held-out cases, with vLLM on Ray Data. Leaves answers/."""

from mint_ray.command import run_stages


def work():
    from mint_ray.inference.predict import predict

    return predict


if __name__ == "__main__":
    run_stages(__doc__, {"answers": work})
