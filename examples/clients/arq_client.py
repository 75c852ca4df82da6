"""Enqueues checks from Python with stock arq, and prints their results.

    pip install arq
    lapwing worker --config examples/queues/aegis.toml &
    python examples/clients/arq_client.py https://example.com
"""

import asyncio
import os
import sys

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import JobExecutionFailed

QUEUE = "arq:queue:system"


async def main(url: str) -> None:
    redis = await create_pool(RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")))

    # A kind and its configuration as arguments …
    job = await redis.enqueue_job("check", kind="http", config={"url": url}, timeout_ms=5000, _queue_name=QUEUE)
    result = await job.result(timeout=30, poll_delay=0.05)
    print(result["status"], result["message"])

    # … or the kind as the function, and its configuration as keyword arguments.
    job = await redis.enqueue_job("http", url=url, method="HEAD", _queue_name=QUEUE)
    result = await job.result(timeout=30, poll_delay=0.05)
    print(result["status"], result["message"])

    # What Lapwing cannot try is an error; a target that is down is a result.
    job = await redis.enqueue_job("http", uri=url, _queue_name=QUEUE)
    try:
        await job.result(timeout=30, poll_delay=0.05)
    except JobExecutionFailed as error:
        print("failed:", error)

    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/"))
