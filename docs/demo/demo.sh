#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The shop, from the first purchase to a new subscriber, in under a minute: `make demo`. Everything happens in a temporary
# folder, which is removed at the end.
set -euo pipefail

fairlead=$(realpath "$1")
repository=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d "${TMPDIR:-/tmp}/fairlead-demo.XXXXXX")
server="" warehouse="" owner=""

finish() {
  code=$?
  for process in $server $warehouse $owner; do kill "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  if [ "$code" != 0 ]; then
    echo "the demo failed; what the server said last:" >&2
    tail -20 "$folder/server.log" >&2 || true
  fi
  rm -rf "$folder"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold="" plain=""; fi
heading() { printf '\n%s%s%s\n\n' "$bold" "$1" "$plain"; }
say() { printf '  %s\n' "$1"; }
show() { sed 's/^/  /'; }

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# wait_until WHAT CONDITION: CONDITION is Python on `s`, the subscribers by name, and `t`, the topics.
wait_until() {
  for _ in $(seq 150); do
    if "$fairlead" status --json 2>/dev/null | python3 -c "
import json, sys
status = json.load(sys.stdin)
s = {x['name']: x for x in status['subscribers']}
t = {x['name']: x for x in status['topics']}
sys.exit(0 if $2 else 1)" 2>/dev/null; then return 0; fi
    if [ -t 1 ]; then redraw; fi
    sleep 0.2
  done
  echo "the demo waited in vain until $1" >&2
  exit 1
}

# On a terminal the table is drawn over itself while the numbers move, so it must not be wider, indented by `show`.
if [ -t 1 ]; then COLUMNS=$(($(stty size 2>/dev/null </dev/tty | cut -d ' ' -f 2 || echo 82) - 2)); export COLUMNS; fi
drawn=0
redraw() {
  local table
  table=$("$fairlead" status | show)
  [ "$drawn" = 0 ] || printf '\e[%dA\e[J' "$drawn"
  printf '%s\n' "$table"
  drawn=$(printf '%s\n' "$table" | wc -l)
}
table() {
  redraw
  drawn=0
}

port=$(free_port) warehouse_port=$(free_port) slack_port=$(free_port)
cp "$repository/routes.conf" "$folder/"
mkdir "$folder/Plugins"
cp -R "$repository"/Plugins/*.lua "$repository/Plugins/lib" "$folder/Plugins/"
rm "$folder/Plugins/slack.lua" "$folder/Plugins/slack_test.lua"
sed -i "s/127.0.0.1:8080/127.0.0.1:$port/; s/127.0.0.1:9090/127.0.0.1:$warehouse_port/" "$folder/routes.conf"
cd "$folder"
export SLACK_WEBHOOK_URL="http://127.0.0.1:$slack_port/services/demo"

heading "1. A shop with seven subscribers starts, and a warehouse that is pushed to"
"$fairlead" sink "$warehouse_port" > warehouse.log & warehouse=$!
"$fairlead" sink "$slack_port" > slack.log & owner=$!
"$fairlead" serve > server.log 2>&1 & server=$!
for _ in $(seq 100); do
  if "$fairlead" status > /dev/null 2>&1; then break; fi
  kill -0 "$server" 2>/dev/null || exit 1
  sleep 0.1
done
grep -E '^(subscriber|  from|  where|  run|  push|  pull)' routes.conf | show

heading "2. $(wc -l < "$repository/docs/demo/purchases.ndjson") events happen in the shop"
"$fairlead" publish orders "$repository/docs/demo/purchases.ndjson" | show
say "(each is on disk before the shop gets its answer; two were sent twice and are accepted once)"
echo
wait_until "everybody has had the purchases" \
  "s['fulfilment']['acked'] >= 30 and s['order_history']['backlog'] == 0 and s['inventory']['backlog'] == 0 and s['receipts']['backlog'] == 0"
table
echo
say "$(ls data/mail | wc -l) receipts are in data/mail, the warehouse got $(wc -l < warehouse.log) requests, and of stock.low there are:"
"$fairlead" pull purchasing | python3 -c '
import json, sys
for line in sys.stdin:
    data = json.loads(line)["data"]
    print(data["sku"] + ": " + str(data["left"]) + " left")' | show

heading "3. The warehouse goes down, the shop goes on selling, the warehouse comes back"
kill "$warehouse"; wait "$warehouse" 2>/dev/null || true; warehouse=""
for number in 1 2 3 4 5; do
  printf '{"specversion":"1.0","id":"late-%s","source":"/shop/web","type":"order.placed","data":{"order_id":"o-20%s","currency":"EUR","total":%s,"customer":{"id":"c-01","name":"Ada","email":"ada@example.com"},"items":[]}}\n' \
    "$number" "$number" "$((number * 40))"
done > late.ndjson
"$fairlead" publish orders late.ndjson | show
wait_until "the warehouse's orders wait" "s['fulfilment']['backlog'] == 5 and s['fulfilment']['state'] == 'down'"
"$fairlead" status | grep -E 'SUBSCRIBER|fulfilment' | show
before=$(wc -l < warehouse.log)
"$fairlead" sink "$warehouse_port" >> warehouse.log & warehouse=$!
wait_until "the warehouse has caught up" "s['fulfilment']['backlog'] == 0 and s['fulfilment']['retrying'] == 0"
drawn=0
say "it is back, and got the $(($(wc -l < warehouse.log) - before)) that it missed:"
"$fairlead" status | grep -E 'SUBSCRIBER|fulfilment' | show

heading "4. A receipt that can't be sent ends as a dead letter, is mended and sent again"
"$fairlead" dead list | show
say ""
say "routes.conf learns about SEK, is reloaded, and the letter goes out:"
sed -i 's/"JPY"\]/"JPY", "SEK"]/' routes.conf
"$fairlead" reload | show
"$fairlead" dead redrive --subscriber receipts | show
wait_until "no dead letter is left" "s['receipts']['dead'] == 0 and s['receipts']['backlog'] == 0"
drawn=0
grep -l 'Your order o-1023' data/mail/* | xargs grep -hE '^(To|Subject):' | show

heading "5. The owner wants big orders on Slack: one file, one block, one SIGHUP, no restart"
cp "$repository/Plugins/slack.lua" Plugins/
cat >> routes.conf <<'BLOCK'

subscriber slack {
  from  orders
  where type = 'order.placed' and data.total >= 100
  run   slack { webhook secret("SLACK_WEBHOOK_URL"); channel "#sales" }
  allow http "127.0.0.1"
  start earliest                      # the past first, then live
}
BLOCK
tail -7 routes.conf | show
kill -HUP "$server"
wait_until "Slack has had the past" "'slack' in s and s['slack']['acked'] > 0 and s['slack']['backlog'] == 0"
drawn=0
echo
table
echo
say "Slack got $(wc -l < slack.log) messages about orders that were placed before it was there."

heading "6. Everything ends in order"
kill -TERM "$server"; wait "$server"; server=""
tail -1 server.log | show
cat <<'NEXT'

What to try next:
  make run                                                  the same shop, on port 8080
  curl -i localhost:8080/v1/topics/orders/events \
    -H 'content-type: application/json' -d '{"order_id":"o-1","total":250,"currency":"EUR"}'
  .build/release/fairlead status                            what became of it
  .build/release/fairlead tail orders --from 0              what happened so far
Then change routes.conf or a file in Plugins/, and: .build/release/fairlead reload
NEXT
