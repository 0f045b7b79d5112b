# Starts and ends `onrecord serve` on loopback. Sourced by tests/interop/run and .ci/shared-checks, which set $binary.
work=$(mktemp -d)
server=

finish() { # code?
  local code=${1:-$?}
  stop_server
  if ((code)) && [[ -s $work/serve.log ]]; then
    echo "-- last lines of serve:"
    tail -n 40 "$work/serve.log"
  fi
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT

# SIGTERM, 10 s of patience, SIGKILL; a server that does not end by itself is a failure.
stop_server() {
  [[ -n $server ]] || return 0
  local id=$server code=0
  server=
  kill -TERM "$id" 2>/dev/null || true
  for _ in $(seq 100); do kill -0 "$id" 2>/dev/null || break; sleep 0.1; done
  if kill -KILL "$id" 2>/dev/null; then
    echo "serve did not end within 10 s of SIGTERM" >&2
    code=1
  fi
  wait "$id" 2>/dev/null || true
  return "$code"
}

# Everyone is recorded under strict mode. Waits until the TCP listener accepts. Data: $work/data-PORT.
start_server() { # port caller-peer callee-peer
  local port=$1 data=$work/data-$1
  mkdir -p "$work/policies" "$data/spool"
  cat >"$work/policies/everyone.toml" <<'P'
[policy]
id = "everyone"
description = "Every call, strict"
enabled = true
record = ["audio", "video"]
record_rerouted_calls = true

[[policy.recorder]]
id = "embedded"
required_before_call_establishment = true
required_during_call = true
P
  cat >"$work/policies/grants.toml" <<'P'
[[grant]]
policy = "everyone"
to = ["global"]
P
  cat >"$work/onrecord.toml" <<C
node = "ci"
data = "$data"
[listen]
sip = ["udp:127.0.0.1:$port", "tcp:127.0.0.1:$port"]
media = { address = "127.0.0.1", ports = "40000-44999" }
[[trunk]]
name = "pbx"
peers = ["$2"]
[[trunk]]
name = "carrier"
peers = ["$3"]
[[route]]
from = "pbx"
to = "carrier"
[[route]]
from = "carrier"
to = "pbx"
[recorder]
volumes = [{ path = "$data/spool", reserve = "64MiB" }]
lag_max = "2s"
[policies]
path = "$work/policies"
C
  "$binary" serve --config "$work/onrecord.toml" >>"$work/serve.log" 2>&1 &
  server=$!
  for _ in $(seq 100); do
    kill -0 "$server" 2>/dev/null || { echo "serve ended at once" >&2; return 1; }
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return 0
    sleep 0.1
  done
  echo "serve was not ready within 10 s" >&2
  return 1
}

