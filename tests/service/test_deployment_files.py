"""Every file that deployments/ ships is loaded as Serve loads it."""

from importlib import import_module
from typing import get_type_hints

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from mint_ray.service.settings import ModelSection, is_loopback
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("path", sorted((REPOSITORY / "deployments").glob("scorer*.yaml")), ids=lambda path: path.name)
def test_a_shipped_configuration_is_valid_and_listens_on_loopback(path):
    config = ServeDeploySchema.model_validate(yaml.safe_load(path.read_text()))
    assert is_loopback(config.http_options.host)
    for application in config.applications:
        module, _, name = application.import_path.partition(":")
        builder = getattr(import_module(module), name)
        assert (
            builder(get_type_hints(builder)["args"].model_validate(application.args))._bound_deployment.name == "scorer"
        )


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "deployments").glob("aligned_model*.yaml")), ids=lambda path: path.name
)
def test_a_shipped_configuration_of_models_has_valid_arguments_and_listens_on_loopback(path):
    """It is built by the test of the running service, which has a run to serve."""
    config = ServeDeploySchema.model_validate(yaml.safe_load(path.read_text()))
    assert is_loopback(config.http_options.host)
    for application in config.applications:
        module, _, name = application.import_path.partition(":")
        ModelSection.model_validate(application.args)
        assert get_type_hints(getattr(import_module(module), name))["args"].__mro__[1] is ModelSection
