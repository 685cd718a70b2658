"""The engine over a scorer that goes: requests learn that the service is not ready, and no case is blamed."""

import asyncio

import pytest

from mint_ray.service.api import CaseProblem, CaseRanking
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


def engine_of(scorer, **limits) -> Engine:
    return Engine(scorer, RareDisease(kind="rare_disease"), LimitsSection(**limits), 4, Metrics())


def test_places_are_held_until_every_case_of_a_request_has_ended():
    """One case fails at once, its sibling is still being read: its place is not free yet."""

    class Slow(Engine):
        async def _ranked(self, submission, top_k, bottom_q):
            if submission.fields["id"] == "gone":
                raise Problem("not-ready", "the scorer ended")
            await self.gate.wait()
            return await super()._ranked(submission, top_k, bottom_q)

    async def scenario():
        engine = Slow(
            LocalScoring(ToyScorer("00"), threads=1), RareDisease(kind="rare_disease"), LimitsSection(), 4, Metrics()
        )
        await engine.start()
        engine.gate = asyncio.Event()
        request = asyncio.create_task(engine.rank([Submission({"id": i, "text": "x"}) for i in ("gone", "slow")], 3, 0))
        await asyncio.sleep(0.01)
        held, done = engine.queued, request.done()
        engine.gate.set()
        with pytest.raises(Problem, match="not ready"):
            await request
        await engine.stop()
        return held, done, engine.queued

    assert asyncio.run(scenario()) == (2, False, 0)


def test_a_scorer_that_breaks_is_not_ready_from_then_on_and_no_case_is_blamed(caplog):
    async def scenario():
        engine = engine_of(LocalScoring(ToyScorer("00"), threads=1))
        await engine.start()
        found = []
        for text in ("Seizure", "fail", "break me", "Seizure"):
            try:
                (result,) = await engine.rank([Submission({"id": "a", "text": text})], 3, 0)
                found.append(result.problem.code if isinstance(result, CaseProblem) else result.outcome)
            except Problem as problem:
                found.append((problem.status_code, problem.code))
            found.append(engine.alive)
        await engine.stop()
        return found

    answered = asyncio.run(scenario())
    assert answered == ["ranking", True, "scoring-failed", True, (503, "not-ready"), False, (503, "not-ready"), False]
    assert "break me" not in caplog.text
