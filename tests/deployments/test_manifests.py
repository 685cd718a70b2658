"""What deployments/kuberay ships: valid for KubeRay, bounded, unprivileged, and at one with the rest of the repository."""

import copy
import gzip
import json
import re
from importlib import import_module, util
from typing import Any, get_type_hints

import jsonschema
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from mint_ray.capacity import demands, shortfall
from mint_ray.config import load_config, parse_config
from mint_ray.line import LINE
from mint_ray.service.connections import HOOK
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "deployments" / "kuberay"
DOCUMENTS = [
    pytest.param(document, id=f"{path.relative_to(FOLDER)}:{document['kind']}")
    for path in sorted(FOLDER.rglob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]


def of_kind(*kinds: str) -> list:
    return [parameter for parameter in DOCUMENTS if parameter.values[0]["kind"] in kinds]


def the(kind: str) -> dict[str, Any]:
    return next(parameter.values[0] for parameter in of_kind(kind))


RAY = of_kind("RayCluster", "RayJob", "RayService")
JOBS, SERVICES = of_kind("RayJob"), of_kind("RayService")
RECIPE = yaml.safe_load(the("ConfigMap")["data"]["recipe.yaml"])
GIBI = 2**30


def closed(schema: Any) -> Any:
    """The schema with every field that it does not name refused."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        inner["additionalProperties"] = schema.get("x-kubernetes-preserve-unknown-fields", False)
    return inner


@pytest.fixture
def faults(real_data):
    """A function from a manifest to what KubeRay's own schema has against it, each with its path."""

    def check(manifest: dict) -> list[str]:
        name = f"kuberay/{manifest['kind'].lower()}s.v1.schema.json.gz"
        schema = json.loads(gzip.decompress(real_data(name).read_bytes()))
        # Metadata is Kubernetes' own, of which the schema says no more than that it is an object.
        errors = jsonschema.Draft202012Validator(closed(schema)).iter_errors(manifest)
        return [f"{error.json_path}: {error.message}" for error in errors]

    return check


def cluster_of(manifest: dict) -> dict:
    """The cluster that a manifest brings, or that it selects."""
    spec = manifest["spec"]
    if "clusterSelector" in spec:
        standing = the("RayCluster")
        assert spec["clusterSelector"] == {"ray.io/cluster": standing["metadata"]["name"]}
        return standing["spec"]
    return spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec


def pods(manifest: dict) -> dict[str, dict]:
    """The pods of the cluster that a manifest brings, by the name of their group."""
    cluster = cluster_of(manifest)
    workers = {group["groupName"]: group["template"]["spec"] for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"]["template"]["spec"], **workers}


def gpus_at_most(manifest: dict) -> int:
    groups = cluster_of(manifest)["workerGroupSpecs"]
    return sum(group["maxReplicas"] * gpus_of(group["template"]["spec"]) for group in groups)


def gpus_of(pod: dict) -> int:
    return int(pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0))


def gibi(quantity: str) -> float:
    return float(quantity.removesuffix("Gi"))


# Against the schemas


@pytest.mark.parametrize("manifest", RAY)
def test_a_manifest_is_valid_for_kuberay(manifest, faults):
    assert faults(manifest) == []


@pytest.mark.parametrize(
    ("kind", "path", "misspelt"),
    [
        ("RayCluster", "spec.headGroupSpec.template.spec.containers[0]", "livenesProbe"),
        ("RayJob", "spec", "activeDeadlineSecond"),
        ("RayService", "spec.rayClusterConfig.autoscalerOptions", "idleTimeoutSecs"),
    ],
)
def test_a_misspelt_field_is_refused_with_its_path(kind, path, misspelt, faults):
    manifest = copy.deepcopy(the(kind))
    place = manifest
    for step in re.findall(r"\w+", path):
        place = place[int(step) if step.isdigit() else step]
    place[misspelt] = 5
    assert faults(manifest) == [
        f"$.{path}: Additional properties are not allowed ({misspelt!r} was unexpected)",
    ]


def test_a_value_of_the_wrong_type_is_refused_with_its_path(faults):
    manifest = copy.deepcopy(the("RayJob"))
    manifest["spec"]["activeDeadlineSeconds"] = "1h"
    assert faults(manifest) == ["$.spec.activeDeadlineSeconds: '1h' is not of type 'integer'"]


def test_gcs_fault_tolerance_as_the_docs_have_it_is_valid(faults):
    docs = (REPOSITORY / "docs" / "cluster.md").read_text()
    options = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(gcsFaultToleranceOptions.*?)```", docs, re.S)]
    assert len(options) == 2
    for option in options:
        manifest = copy.deepcopy(the("RayCluster"))
        manifest["spec"] |= option
        assert faults(manifest) == []


# Bounds


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_in_time_and_leaves_nothing_running(job):
    spec = job["spec"]
    assert 0 < spec["activeDeadlineSeconds"] <= 3 * 24 * 3600
    if "clusterSelector" in spec:
        hours = int(re.match(r"timeout (\d+)h ", spec["entrypoint"])[1])
        assert spec["activeDeadlineSeconds"] - 3600 < hours * 3600 < spec["activeDeadlineSeconds"]
    else:
        assert spec["shutdownAfterJobFinishes"]


@pytest.mark.parametrize("manifest", RAY)
def test_gpus_are_capped(manifest):
    quota = next(d.values[0] for d in of_kind("ResourceQuota"))
    assert 0 < gpus_at_most(manifest) <= 4
    assert gpus_at_most(manifest) <= int(quota["spec"]["hard"]["requests.nvidia.com/gpu"])


@pytest.mark.parametrize("manifest", RAY)
def test_every_container_has_requests_and_limits_and_the_shared_memory_that_ray_takes(manifest):
    cluster = cluster_of(manifest)
    assert {"cpu", "memory"} <= set(cluster["autoscalerOptions"]["resources"]["limits"])
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        pod = group["template"]["spec"]
        resources = pod["containers"][0]["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]) and resources["requests"] == resources["limits"]
        # Without the room Ray puts its object store on disk.
        store = group["rayStartParams"].get("object-store-memory")
        wanted = int(store) / GIBI if store else 0.3 * gibi(resources["limits"]["memory"])
        [shm] = [v["emptyDir"]["sizeLimit"] for v in pod["volumes"] if v["name"] == "shm"]
        assert wanted <= gibi(shm) < gibi(resources["limits"]["memory"])


# Privileges


@pytest.mark.parametrize("manifest", RAY)
def test_no_pod_is_root_privileged_or_of_the_host(manifest):
    for pod in pods(manifest).values():
        context = pod["securityContext"]
        assert context["runAsNonRoot"] and context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not any("hostPath" in volume for volume in pod["volumes"])


@pytest.mark.parametrize("manifest", RAY)
def test_no_container_may_gain_rights_or_write_to_its_image(manifest):
    containers = [container for pod in pods(manifest).values() for container in pod["containers"]]
    for container in [*containers, cluster_of(manifest)["autoscalerOptions"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]]
        assert {"name": "HOME", "value": "/tmp"} in container["env"]


@pytest.mark.parametrize("manifest", RAY)
def test_every_mount_has_its_volume_and_every_claim_is_shipped(manifest):
    claim = the("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods(manifest).values():
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == set(volumes)
        assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


@pytest.mark.parametrize("manifest", RAY)
def test_every_container_is_probed(manifest):
    for pod in pods(manifest).values():
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert pod["containers"][0][probe]["httpGet"]["port"] in (52365, 8000)
        assert pod["containers"][0]["livenessProbe"]["httpGet"] == {"path": "/api/healthz", "port": 52365}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_gets_requests_where_its_proxy_answers(service):
    port = yaml.safe_load(service["spec"]["serveConfigV2"])["http_options"]["port"]
    probe = pods(service)["gpu"]["containers"][0]["readinessProbe"]["httpGet"]
    assert probe == {"path": "/-/healthz", "port": port}


def test_from_outside_the_service_port_alone_can_be_reached():
    policy = the("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    open_to_all = [rule for rule in policy["ingress"] if "from" not in rule]
    assert [rule["ports"] for rule in open_to_all] == [[{"protocol": "TCP", "port": 8000}]]
    others = [peer for rule in policy["ingress"] for peer in rule.get("from", [])]
    assert all(peer.get("podSelector", {}).get("matchLabels") for peer in others)


def test_the_namespace_refuses_privileged_pods_itself_and_holds_everything():
    assert the("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    namespaces = {p.values[0]["metadata"].get("namespace") for p in DOCUMENTS if p.values[0]["kind"] != "Namespace"}
    assert namespaces == {the("Namespace")["metadata"]["name"]}


def test_the_secret_is_an_example_without_values():
    assert set(the("Secret")["stringData"].values()) == {""}
    used = {v["valueFrom"]["secretKeyRef"]["key"] for v in env_of(the("RayCluster")) if "valueFrom" in v}
    used |= {item["key"] for volume in token_volumes() for item in volume["secret"]["items"]}
    assert used == set(the("Secret")["stringData"])


def env_of(manifest: dict) -> list[dict]:
    return pods(manifest)["head"]["containers"][0]["env"]


def token_volumes() -> list[dict]:
    return [v for service in SERVICES for v in pods(service.values[0])["head"]["volumes"] if v["name"] == "tokens"]


# At one with the repository


def locked(package: str) -> str:
    lock = (REPOSITORY / "requirements" / "cpu.txt").read_text()
    return re.search(rf"^{package}(?:\[.*\])?==(\S+)", lock, re.M)[1]


@pytest.mark.parametrize("manifest", RAY)
def test_image_tag_ray_version_and_lock_are_one(manifest):
    project = re.search(r'^version = "(.*)"', (REPOSITORY / "pyproject.toml").read_text(), re.M)[1]
    assert cluster_of(manifest)["rayVersion"] == locked("ray")
    for pod in pods(manifest).values():
        kind = "cuda" if gpus_of(pod) else "cpu"
        assert pod["containers"][0]["image"] == f"mint-ray:{project}-ray{locked('ray')}-{kind}"


@pytest.mark.parametrize("job", JOBS)
def test_an_entry_point_is_a_job_of_this_repository_on_the_recipe(job):
    script, recipe = re.fullmatch(
        r"(?:timeout \d+h )?python /app/(jobs/\w+\.py) (\S+)", job["spec"]["entrypoint"]
    ).groups()
    assert (REPOSITORY / script).is_file()
    [mount] = [m for m in pods(job)["head"]["containers"][0]["volumeMounts"] if m["name"] == "recipe"]
    assert recipe == f"{mount['mountPath']}/recipe.yaml" and set(the("ConfigMap")["data"]) == {"recipe.yaml"}


def test_there_is_a_job_for_each_stage_and_one_for_the_line():
    names = {job.values[0]["metadata"]["name"].removeprefix("mint-ray-") for job in JOBS}
    assert names == {*LINE, "line"}


def test_the_recipe_is_the_shipped_one_with_the_clusters_paths():
    shipped = load_config(REPOSITORY / "configs" / "rare_disease_gmdb_llama3b_4xa100.yaml").model_dump(mode="json")
    here = parse_config(RECIPE).model_dump(mode="json")
    differ = {
        f"{name}.{key}"
        for name, section in here.items()
        for key, value in (section or {}).items()
        if value != shipped[name][key]
    }
    paths = {"run.dir", "corpus.folder", "corpus.label_list", "scorer.state_dict", "scorer.label_list"}
    assert differ == paths | {"cluster.autoscaling"}
    assert all(here[s][k].startswith("/data/") for s, k in (path.split(".") for path in paths))


@pytest.mark.parametrize("job", JOBS)
def test_the_recipe_says_what_the_cluster_may_grow_to_and_its_stages_fit(job):
    config = parse_config(RECIPE)
    groups = [
        (group["maxReplicas"], int(resources["cpu"]), int(resources.get("nvidia.com/gpu", 0)))
        for group in cluster_of(job)["workerGroupSpecs"]
        for resources in [group["template"]["spec"]["containers"][0]["resources"]["limits"]]
    ]
    assert [(group.nodes, group.cpus, group.gpus) for group in config.cluster.autoscaling] == groups
    assert [shortfall(d, config.cluster.autoscaling) for stage in LINE for d in demands(config, stage)] == [None] * 4


@pytest.mark.parametrize("service", SERVICES)
def test_an_import_path_resolves_and_takes_the_arguments_and_a_token_is_asked_for(service):
    config = ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))
    [application] = config.applications
    module, _, builder = application.import_path.partition(":")
    if util.find_spec(module) is None:
        pytest.skip(f"{module} is not in this tree yet")
    arguments = get_type_hints(getattr(import_module(module), builder))["args"].model_validate(application.args)
    mounts = pods(service)["gpu"]["containers"][0]["volumeMounts"]
    [tokens] = [mount["mountPath"] for mount in mounts if mount["name"] == "tokens"]
    assert str(arguments.access.token_file) == f"{tokens}/service-token"
    assert config.http_options.host == "0.0.0.0"


@pytest.mark.parametrize("service", SERVICES)
def test_every_port_that_speaks_http_bounds_its_connections(service):
    for name, pod in pods(service).items():
        env = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        assert HOOK.items() <= env.items(), name
