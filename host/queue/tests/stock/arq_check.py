"""What `arq --check` does: arq_check.py PORT QUEUE. Ends with 0 when there is a live worker."""

import sys

from arq.connections import RedisSettings
from arq.worker import check_health


class Settings:
    redis_settings = RedisSettings(port=int(sys.argv[1]))
    queue_name = sys.argv[2]


sys.exit(check_health(Settings))
