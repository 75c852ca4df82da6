"""The peer: a stock arq worker with one function that does nothing."""

import os

from arq.connections import RedisSettings
from arq.worker import Worker


async def noop(_ctx):
    return None


Worker(
    functions=[noop],
    redis_settings=RedisSettings(port=int(os.environ["REDIS_PORT"])),
    queue_name=os.environ["QUEUE"],
    max_jobs=int(os.environ["MAX_JOBS"]),
    poll_delay=float(os.environ["POLL"]),
).run()
