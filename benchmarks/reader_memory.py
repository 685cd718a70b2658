"""Memory of the process that reads requests, with freed memory given back and without: the application, no network, no forward.

    python benchmarks/reader_memory.py [--bursts 150]

Bursts of up to 32 requests with one or four pictures each are answered by a scorer that does nothing. Prints the megabytes that
belong to the process alone (unique set size), ten times, one side after the other in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import random
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import httpx
import numpy as np
import psutil
from PIL import Image

from mint_ray.service import memory
from mint_ray.service.app import create_app
from mint_ray.service.engine import Engine
from mint_ray.service.metrics import Metrics
from mint_ray.service.settings import LimitsSection
from mint_ray.service.wire import Scored
from mint_ray.tasks.base import Label, View
from mint_ray.tasks.rare_disease import RareDisease


class Nothing:
    """A scorer that finds all labels alike, and opens no picture."""

    name, digest, modalities, at_once, alive = "nothing", "00", ("image", "text"), 1, True
    labels = [Label(id=f"OMIM:{number}", name=f"Disease {number}") for number in range(12)]

    async def score(self, views: list[View]) -> Scored:
        return Scored([np.zeros(12, np.float32) for _ in views], 0.0, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bursts", type=int, default=150)
    parser.add_argument("--side", choices=["given back", "kept"], help="one side alone, in this process")
    options = parser.parse_args()
    if options.side is None:
        for side in ("kept", "given back"):
            subprocess.run([sys.executable, __file__, "--bursts", str(options.bursts), "--side", side], check=True)
        return
    if options.side == "kept":
        memory.TRIM_SECONDS = float("inf")
    print(f"{options.side}: {', '.join(f'{each:.0f}' for each in asyncio.run(megabytes(options.bursts)))} MB")


async def megabytes(bursts: int) -> list[float]:
    engine = Engine(Nothing(), RareDisease(kind="rare_disease"), LimitsSection(), 32, Metrics())
    await engine.start()
    rng, pictures, found = random.Random(0), [picture(side) for side in (40, 96, 150, 300)], []
    transport = httpx.ASGITransport(create_app(engine, None))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for number in range(bursts):
            bodies = [body(rng, pictures) for _ in range(rng.randrange(1, 33))]
            answers = await asyncio.gather(*(client.post("/v1/rank", json=each) for each in bodies))
            assert {answer.status_code for answer in answers} == {200}
            if number % max(bursts // 10, 1) == 0:
                found.append(psutil.Process().memory_full_info().uss / 2**20)
    return found


def body(rng: random.Random, pictures: list[str]) -> dict:
    return {"cases": [{"text": "x " * rng.randrange(200), "image": rng.choice(pictures)}] * rng.choice([1, 1, 1, 4])}


def picture(side: int) -> str:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    main()
