"""What all tests share: Ray, started once a module, and the folder of real data where there is one."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from mint_ray.cluster import ENVIRONMENT

for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

import pytest  # noqa: E402

REPOSITORY = Path(__file__).parent.parent
REAL_DATA = Path(os.environ.get("MINT_RAY_REAL_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="module")
def local_ray():
    """A Ray of this module's own, on the loopback address."""
    from mint_ray.cluster import ray_session
    from mint_ray.config import ClusterSection

    with ray_session(ClusterSection(cpus=4)):
        yield


@pytest.fixture(scope="module")
def object_store(tmp_path_factory):
    """An S3 with one empty bucket, which the environment leads to: ask for it before Ray, whose workers inherit that.

    What is fetched from it goes to a cache of the test's own, in which the converted models are the usual ones.
    """
    import boto3
    import s3fs

    from mint_ray.storage import cache_folder
    from tests.object_store import BUCKET, ENVIRONMENT, ObjectStore

    store, models, cache = ObjectStore(), cache_folder() / "models", tmp_path_factory.mktemp("cache")
    models.mkdir(parents=True, exist_ok=True)
    (cache / "models").symlink_to(models)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": store.endpoint, "MINT_RAY_CACHE": str(cache)}.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # an instance keeps the endpoint that it was made with
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield store
    store.close()


@pytest.fixture
def bucket(object_store, request):
    """A place of this test's own in the bucket."""
    from tests.object_store import place

    yield place(request.node.name.replace("[", "-").replace("]", ""))
    object_store.refuse(lambda method, path: None)


@pytest.fixture(scope="session")
def real_data():
    """A function from a name to a path of real data; skips where the folder is not there."""

    def path(name: str) -> Path:
        if not (REAL_DATA / name).exists():
            pytest.skip(f"no real data at {REAL_DATA / name}: set MINT_RAY_REAL_DATA to the folder that has it")
        return REAL_DATA / name

    return path
