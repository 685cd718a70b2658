"""The upstream scorer over HTTP: `serve run deployments/scorer.yaml`, or `python -m mint_ray.service deployments/scorer.yaml`."""

from ray import serve

from mint_ray.service.deployment import application
from mint_ray.service.settings import ServiceSection


class Args(ServiceSection):
    """The `args` of deployments/scorer.yaml."""


def build(args: Args) -> serve.Application:
    return application(args)
