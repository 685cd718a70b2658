"""Base and aligned models behind the OpenAI-compatible API: `python -m mint_ray.service deployments/aligned_model.yaml`."""

from ray import serve

from mint_ray.service.chat import application
from mint_ray.service.settings import ModelSection


class Args(ModelSection):
    """The `args` of deployments/aligned_model.yaml."""


def build(args: Args) -> serve.Application:
    return application(args)
