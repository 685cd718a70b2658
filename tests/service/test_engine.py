"""The engine over a scorer that goes: requests learn that the service is not ready, and no case is blamed."""

import asyncio

import pytest

from mint_ray.service.api import CaseRanking
from mint_ray.service.engine import Engine, Submission
from mint_ray.service.metrics import Metrics
from mint_ray.service.problems import Problem
from mint_ray.service.scoring import LocalScoring
from mint_ray.service.settings import LimitsSection
from mint_ray.tasks.rare_disease import RareDisease
from tests.service.toy import ToyScorer


class Mortal(LocalScoring):
    gone = False

    async def score(self, views):
        if self.gone:
            raise ConnectionError
        return await super().score(views)


def test_a_scorer_that_is_gone_is_not_held_against_the_cases():
    case = Submission({"id": "a", "text": "Seizure"})

    async def scenario():
        scorer = Mortal(ToyScorer("00"), threads=1)
        engine = Engine(scorer, RareDisease(kind="rare_disease"), LimitsSection(), 4, Metrics())
        await engine.start()
        (before,) = await engine.rank([case], 3, 0)
        scorer.gone = True
        with pytest.raises(Problem) as many:
            await engine.rank([case, case], 3, 0)
        with pytest.raises(Problem) as one:
            await engine.rank_one(case, 3, 0)
        queued = engine.queued
        await engine.stop()
        return before, many.value, one.value, queued

    before, many, one, queued = asyncio.run(scenario())
    assert isinstance(before, CaseRanking)
    for problem in (many, one):
        assert (problem.status_code, problem.code, problem.headers) == (503, "not-ready", {"Retry-After": "1"})
    assert queued == 0
