"""The scorer behind plain FastAPI and uvicorn, one request at a time: what one writes first.

It takes what the service takes and answers what the service answers, without bounds, metrics, or problems.
"""

from __future__ import annotations

import argparse
import base64

import numpy as np
import uvicorn
from fastapi import FastAPI

from mint_ray.scorers import load_scorer
from mint_ray.sections import resolve_kind
from mint_ray.service.api import CaseIn, CaseRanking, Health, RankedLabel, RankResponse, ScorerName, Strict
from mint_ray.tasks.base import Task


class Request(Strict):
    cases: list[CaseIn]
    top_k: int = 10
    bottom_q: int = 0


def plain_app(folder: str, kind: str) -> FastAPI:
    scorer, task, app = load_scorer(folder), resolve_kind(Task, {"kind": kind}), FastAPI()

    @app.get("/livez")
    async def live() -> Health:
        return Health()

    @app.post("/v1/rank")
    async def rank(request: Request) -> RankResponse:
        views = [
            task.scorer_view(case.case(base64.b64decode(case.image) if case.image else None)) for case in request.cases
        ]
        results = []
        for case, scores in zip(request.cases, scorer.scores(views), strict=True):
            order = np.argsort(-scores)[: request.top_k]
            top = [
                RankedLabel(rank=n, id=scorer.labels[i].id, name=scorer.labels[i].name, score=float(scores[i]))
                for n, i in enumerate(order, 1)
            ]
            results.append(CaseRanking(id=case.id, top=top))
        return RankResponse(scorer=ScorerName(name=scorer.name, digest=scorer.digest), results=results)

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scorer")
    parser.add_argument("task")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    uvicorn.run(plain_app(options.scorer, options.task), port=options.port, log_level="warning", access_log=False)
