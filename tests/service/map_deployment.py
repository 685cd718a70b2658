"""A driver: builds a tiny run's preferences by its own actors or through the running application, and prints what came.

RAY_ADDRESS=... python -m tests.service.map_deployment FOLDER own|application [kill]
"""

import json
import sys
import threading
from pathlib import Path

from mint_ray.cluster import ray_session
from mint_ray.config import ClusterSection
from mint_ray.preferences.build import build_preferences
from mint_ray.preferences.store import pair_dataset
from mint_ray.rankings.build import build_rankings
from mint_ray.rankings.store import ranking_table, refusal_table
from mint_ray.records import Case
from mint_ray.runs import Run, StageReport
from tests.scorers.tiny import coloured_run, picture, tiny_scorer, tiny_section

CUT_OFF = picture((9, 9, 9))[:400]


def scored_run(folder: Path, application: str | None) -> Run:
    """Forty-odd coloured patients, one with a picture that is cut off, and a finished scorer."""
    broken = Case(case_id="broken", group_id="broken", split="train", image=CUT_OFF, synthetic=True)
    run = coloured_run(folder, tiny_section(), train=48, extra=(broken,))
    settings = run.config.rankings.model_copy(update={"application": application, "part_rows": 20, "batch_size": 8})
    run = Run(run.config.model_copy(update={"rankings": settings}))

    def scorer(run: Run) -> StageReport:
        tiny_scorer(run.stage("scorer").path)
        return StageReport()

    run.carry_out("scorer", scorer)
    return run


def kill_a_replica() -> None:
    import ray

    named = ray.util.list_named_actors(all_namespaces=True)
    replicas = sorted(each["name"] for each in named if each["name"].startswith("SERVE_REPLICA::scorer#"))
    ray.kill(ray.get_actor(replicas[0], namespace="serve"))


def main(folder: str, way: str, *more: str) -> None:
    run = scored_run(Path(folder), "scorer" if way == "application" else None)
    with ray_session(ClusterSection()):
        killer = threading.Timer(1.0, kill_a_replica)
        if "kill" in more:
            killer.start()
        run.carry_out("rankings", build_rankings)
    run.carry_out("preferences", build_preferences)
    found = {
        "rankings": [(row["case_id"], row["label_ids"], row["scores"]) for row in ranking_table(run).to_pylist()],
        "digests": sorted({row["scorer_digest"] for row in ranking_table(run).to_pylist()}),
        "refused": [(row["case_id"], row["reason"]) for row in refusal_table(run).to_pylist()],
        "pairs": {
            s: [row["chosen_label_ids"] for row in pair_dataset(run, s).to_list()] for s in ("train", "validation")
        },
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
