#!/usr/bin/env bash
# Do the clients of this folder get right answers? Runs those in Python and for shells against a Redis, a target and
# workers of its own: check.sh LAPWING. Needs redis-server, redis-cli, and python3 with arq.
set -euo pipefail
lapwing=$(realpath "$1")
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$scratch"' EXIT

free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
fault() { echo "check.sh: $*" >&2; cat "$scratch"/*.log >&2; exit 1; }
# Says what is missing, if it does not come within 30 s.
until_() { for _ in {1..300}; do "${@:2}" &>/dev/null && return; sleep 0.1; done; fault "$1"; }
# expect <text> <a line of it>: told when it is not there.
expect() { grep -Eq -- "$2" <<<"$1" || fault "no line \`$2\` in: $1"; }

port=$(free) target=$(free)
unset REDIS_URL_LOCAL REDIS_HOST
export REDIS_URL=redis://127.0.0.1:$port/0 LOG_LEVEL=warn
redis-server --port "$port" --bind 127.0.0.1 --save '' --dir "$scratch" >"$scratch/redis.log" &
mkdir "$scratch/site"
python3 -m http.server "$target" --bind 127.0.0.1 --directory "$scratch/site" &>"$scratch/target.log" &
until_ 'no Redis' redis-cli -p "$port" ping
for queues in aegis streams; do
    "$lapwing" worker --config "../queues/$queues.toml" --listen 127.0.0.1:0 &>"$scratch/$queues.log" &
    until_ "no worker of $queues.toml" "$lapwing" worker --config "../queues/$queues.toml" --check
done
url=http://127.0.0.1:$target/

said=$(python3 arq_client.py "$url") || fault "arq_client.py failed: $said"
[ "$(grep -c '^up 200' <<<"$said")" -eq 2 ] || fault "arq_client.py: not two results in: $said"
expect "$said" '^failed: .*`uri`'

said=$(sh redis_cli.sh "$url") || fault "redis_cli.sh failed: $said"
expect "$said" '"monitor_id":"shop".*"status":"up"'
expect "$said" '^Up$'

for queue in aegis:load_test streams:jobs; do
    "$lapwing" enqueue http --config "{\"url\": \"$url\"}" --settings "../queues/${queue%:*}.toml" --queue "${queue#*:}" \
        >>"$scratch/enqueue.log" || fault "enqueue on $queue failed"
done
"$lapwing" enqueue http --config "{\"url\": \"$url\"}" --settings ../queues/streams.toml --wait >"$scratch/wait.log" ||
    fault 'enqueue --wait: not up'
echo 'The clients got right answers'
