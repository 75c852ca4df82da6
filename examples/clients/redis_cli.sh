#!/bin/sh
# Enqueues with nothing but redis-cli. Start a worker first: lapwing worker --config examples/queues/streams.toml
#
#   sh examples/clients/redis_cli.sh http://127.0.0.1:8080/
set -eu
url=${1:-http://127.0.0.1:8080/}
redis() { redis-cli -u "${REDIS_URL:-redis://127.0.0.1:6379/0}" "$@"; }

# Lapwing's own stream: a kind and its configuration, or a whole task as JSON.
redis XADD lapwing:tasks '*' kind http config "{\"url\": \"$url\"}" timeout_ms 5000
redis XADD lapwing:tasks '*' task "{\"kind\": \"http\", \"id\": \"shop\", \"config\": {\"url\": \"$url\"}}"

# An uptime worker's stream.
redis XADD uptime:jobs '*' websiteId site-1 url "$url"

sleep 2
redis XREVRANGE lapwing:results + - COUNT 2
redis XREVRANGE uptime:results + - COUNT 1
