"""Clients of the services, sync and async: the scorer's, and the models'.

    with ScorerClient("http://127.0.0.1:8000") as scorer:
        result = scorer.rank([QueryCase(id="a", text="short stature", image=Path("face.png").read_bytes())])[0]
        if isinstance(result, Ranked):
            print(result.top[0].name)

    with ModelClient("http://127.0.0.1:8001/v1", task=task, labels=labels) as model:
        for name in model.ask(case).names:
            print(name.rank, name.name, name.id, name.log_probability)

They are thin. When a request is sent again is `mint_ray.transport`'s to say. The transport is passed in
(`transport=httpx.ASGITransport(app)` in tests).
"""

from mint_ray.client.http import ServiceError
from mint_ray.client.model import Answer, AsyncModelClient, ModelClient, Named
from mint_ray.client.scorer import AsyncScorerClient, Label, QueryCase, Ranked, Refused, ScorerClient, rank_body

__all__ = [
    "Answer",
    "AsyncModelClient",
    "AsyncScorerClient",
    "Label",
    "ModelClient",
    "Named",
    "QueryCase",
    "Ranked",
    "Refused",
    "ScorerClient",
    "ServiceError",
    "rank_body",
]
