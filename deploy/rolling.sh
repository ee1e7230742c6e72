#!/usr/bin/env bash
# A rolling update, measured: three gateways behind HAProxy under load are replaced
# one by one with a newer build, as "docker compose up -d --no-deps gatewayN" or a
# Deployment would do it. Told is what the clients noticed. It fails (exit code 1)
# where a message was lost, where 1 in 100 clients was away for longer than
# MAX_PAUSE, or where a gateway took more clients a second than ACCEPT_RATE.
#
#   deploy/rolling.sh                                # from the commit before this one to the working tree
#   deploy/rolling.sh ./fanfare-1.2.0 ./fanfare-1.3.0
#   CLIENTS=6000 RATE=200 deploy/rolling.sh
#
# It needs Go, git, redis-server, haproxy and curl, and uses the files of deploy/haproxy
# and deploy/redis with addresses of this machine in place of the compose network's.
# Where it fails it leaves the logs, and says where; KEEP=1 leaves them in any case.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CLIENTS=${CLIENTS:-1500}         # each in two of 100 rooms
RATE=${RATE:-50}                 # messages a second, over all rooms
ACCEPT_RATE=${ACCEPT_RATE:-100}  # accept_rate of each gateway
DRAIN=${DRAIN:-20}               # drain.period in seconds
MAX_PAUSE=${MAX_PAUSE:-5s}       # p99, from losing a connection to having all that was missed
PORT=${PORT:-17000}              # the first of those that are used, a multiple of 100
GO=${GO:-go}
PATH=$PATH:/usr/sbin

exec 3>&2 # for fail, also where what is tried is not to be seen

say() { echo "rolling: $*"; }
fail() { say "$*" >&3; exit 1; }

until_ok() { # WHAT SECONDS COMMAND...
  local what=$1 end=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "not in time: $what"
    sleep 0.1
  done
}

# most_accepted reads "SECONDS N OPENED" of gateways and prints the most that one took
# over two seconds, or from one line of it to the next where these are further apart,
# a second.
most_accepted() {
  awk '
    $2 in when && $3 < last[$2] { # another process: it began at 0
      first[$2] = ++count[$2]; at[$2, count[$2]] = when[$2]; total[$2, count[$2]] = 0
    }
    {
      n = ++count[$2]; at[$2, n] = when[$2] = $1; total[$2, n] = last[$2] = $3
      if (!first[$2]) first[$2] = n
      while (first[$2] < n - 1 && $1 - at[$2, first[$2] + 1] >= 2) first[$2]++
      time = $1 - at[$2, first[$2]]
      rate = ($3 - total[$2, first[$2]]) / (time > 2 ? time : 2)
      if (rate > most) most = rate
    }
    END { printf "%.0f", most }'
}

# A test takes what is above.
[ "${BASH_SOURCE[0]}" = "$0" ] || return 0

dir=$(mktemp -d)
pids=()
cleanup() {
  local code=$?
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$dir/source" "$dir/old" "$dir/new" "$dir/loadtest"
  if [ $code -ne 0 ] || [ -n "${KEEP:-}" ]; then say "logs are in $dir"; else rm -rf "$dir"; fi
}
trap cleanup EXIT

for program in git redis-server haproxy curl; do command -v "$program" >/dev/null || fail "$program is not installed"; done

# --- what is run

old=${1:-} new=${2:-}
if [ -z "$new" ]; then
  new=$dir/new
  say "building the working tree"
  "$GO" build -o "$new" ./cmd/fanfare
fi
if [ -z "$old" ]; then
  old=$dir/old
  say "building $(git log -1 --format='%h %s' HEAD~1)"
  mkdir "$dir/source"
  git archive HEAD~1 | tar -x -C "$dir/source"
  (cd "$dir/source" && "$GO" build -o "$old" ./cmd/fanfare)
fi
"$GO" build -o "$dir/loadtest" ./loadtest
if cmp -s "$old" "$new"; then say "note: the two builds are the same"; fi

# --- where: gateway N at PORT+N, its admin port at PORT+10+N

redis_port=$((PORT + 20)) balancer=$PORT
export REDIS_PASSWORD_FANFARE=rolling
sh deploy/redis/users.sh deploy/redis/users.template >"$dir/users.acl"
sed -e "s|/etc/redis/users.acl|$dir/users.acl|" -e "s|^dir /data|dir $dir|" deploy/redis/standalone.conf >"$dir/redis.conf"
sed -e "s|bind :8080|bind 127.0.0.1:$balancer|" -e "s|bind :8404|bind 127.0.0.1:$((PORT + 21))|" -e "s|127.0.0.1:8405|127.0.0.1:$((PORT + 22))|" \
  -e "s|gateway\([123]\):8080 port 9090|127.0.0.1:$((PORT / 10))\1 port $((PORT / 10 + 1))\1|" deploy/haproxy/haproxy.cfg >"$dir/haproxy.cfg"

# spawn NAME COMMAND... runs it in the background; its process id is in $pid.
spawn() {
  local name=$1
  shift
  "$@" >>"$dir/$name.log" 2>&1 &
  pid=$!
  pids+=("$pid")
}

declare -a gateway
# run_gateway N BINARY starts it at its place, and waits until it is ready.
run_gateway() {
  spawn "gateway$1" env FANFARE_REDIS_URL="redis://fanfare:rolling@127.0.0.1:$redis_port" \
    FANFARE_LISTEN="127.0.0.1:$((PORT + $1))" FANFARE_ADMIN_LISTEN="127.0.0.1:$((PORT + 10 + $1))" FANFARE_TRUSTED_PROXIES=127.0.0.1 \
    FANFARE_ACCEPT_RATE="$ACCEPT_RATE" FANFARE_DRAIN_PERIOD="${DRAIN}s" FANFARE_LIMITS_HANDSHAKES_PER_ADDRESS=0 "$2" serve
  gateway[$1]=$pid
  until_ok "gateway$1 is ready" 60 "$2" healthcheck --admin-listen "127.0.0.1:$((PORT + 10 + $1))"
}

# opened N prints how many connections a gateway has taken; nothing while it is away.
opened() {
  curl -sf --max-time 2 "http://127.0.0.1:$((PORT + 10 + $1))/metrics" | awk '$1 == "fanfare_connections_opened_total" { print $2 }'
}

# watch writes "SECONDS N OPENED" of gateway N, twice a second. Each is watched by
# itself: one that hangs would keep the others from being looked at.
watch() {
  while :; do
    if count=$(opened "$1") && [ -n "$count" ]; then echo "$(date +%s.%N) $1 $count"; fi
    sleep 0.5
  done >"$dir/accepts$1"
}

spawn redis redis-server "$dir/redis.conf" --bind 127.0.0.1 --port "$redis_port"
for n in 1 2 3; do run_gateway $n "$old"; done
spawn haproxy haproxy -db -f "$dir/haproxy.cfg"
until_ok "HAProxy passes requests on" 30 curl -sf "http://127.0.0.1:$balancer/"

# --- the load, for longer than it takes

cat >"$dir/load.yaml" <<EOF
description: "$CLIENTS clients in 100 rooms while the gateways are replaced"
groups:
  - name: people
    connections: $CLIENTS
    rooms: { prefix: "rolling:", count: 100 }
    each: 2
streams:
  - name: talk
    from: people
    rate: $RATE
EOF
lasts=$((3 * (DRAIN + 20) + 10))
spawn loadtest "$dir/loadtest" mixed "$dir/load.yaml" --url "ws://127.0.0.1:$balancer" --duration ${lasts}s --drain 30s \
  --connect-rate $((2 * ACCEPT_RATE)) --connect-timeout 5m --max-caught-up-p99 "$MAX_PAUSE" --max-gapped 0 --out "$dir/result.json" --quiet
load=$pid
all_are_in() {
  kill -0 "$load" || fail "the load ended before it began: $(tail -n 5 "$dir/loadtest.log")"
  [ $(($(opened 1) + $(opened 2) + $(opened 3))) -ge "$CLIENTS" ]
}
until_ok "all clients are connected" 300 all_are_in
sleep 3 # measuring has begun
say "$CLIENTS clients are connected; replacing three gateways"

# --- the update

watchers=()
for n in 1 2 3; do
  watch $n &
  watchers+=("$!")
done
pids+=("${watchers[@]}")
began=$SECONDS
for n in 1 2 3; do
  at=$SECONDS
  kill -TERM "${gateway[$n]}"
  wait "${gateway[$n]}" || fail "gateway$n ended with $?"
  drained=$((SECONDS - at))
  run_gateway $n "$new"
  until_ok "HAProxy sends it clients" 30 sh -c "curl -sf 'http://127.0.0.1:$((PORT + 21))/stats;csv' | grep -q '^gateways,gateway$n,.*,UP,'"
  say "gateway$n: drained in ${drained} s, the new one takes clients after $((SECONDS - at)) s"
done
took=$((SECONDS - began))
kill -0 "$load" 2>/dev/null || fail "the load ended before the update did: it was not seen whole"
sleep 5
kill "${watchers[@]}"

# --- what came of it

code=0
wait "$load" || code=$?
most=$(cat "$dir"/accepts? | most_accepted)

echo
if grep -q '^published' "$dir/loadtest.log"; then sed -n '/^published/,$p' "$dir/loadtest.log"; else tail -n 20 "$dir/loadtest.log"; fi
echo
say "replaced in $took s; a gateway took $most clients a second at most, accept_rate is $ACCEPT_RATE"
[ "$code" -eq 0 ] || fail "FAILED: see what was broken or missed above"
[ "$most" -gt 0 ] || fail "FAILED: no gateway took anyone: nothing was measured"
[ "$most" -le "$ACCEPT_RATE" ] || fail "FAILED: more clients a second than accept_rate"
say "OK: nothing lost, p99 of the pauses below $MAX_PAUSE, accept rates within the limit"
