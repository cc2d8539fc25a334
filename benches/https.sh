#!/usr/bin/env bash
# The https example beside nginx, in the same run: processor time of the server for a large file and for small ones.
#
# `benches/https.sh [ROUNDS]`, by default 11 of each, in turns. Servers run on one core and clients on another. It prints
# medians, and the median of the ratios of each round (below 1 is better than nginx).
# Needs nginx, wrk, curl and openssl. WINDLASS_HTTPS names a built example; else it is built here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rounds=${1:-11}
for tool in nginx wrk curl openssl taskset; do
    command -v "$tool" >/dev/null || { echo "skipped: $tool not installed"; exit 0; }
done
if [ -z "${WINDLASS_HTTPS-}" ]; then
    cargo build --release --example https
    WINDLASS_HTTPS=${CARGO_TARGET_DIR:-target}/release/examples/https
fi

work=$(mktemp -d)
ours= theirs=
trap 'kill $ours $theirs 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/www"
head -c 1024 /dev/zero | tr '\0' x >"$work/www/1k.txt"
head -c $((1 << 30)) /dev/urandom >"$work/www/1g"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" \
    -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null

# Free ports: nginx cannot be told to take one.
ports=()
for port in $(shuf -i 20000-29000 -n 40); do
    [ ${#ports[@]} -eq 2 ] && break
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || ports+=("$port")
done
cat >"$work/nginx.conf" <<CONF
worker_processes 1;
daemon off;
master_process on;
user $(id -un);
pid $work/nginx.pid;
error_log $work/error.log;
events { worker_connections 1024; use epoll; multi_accept on; }
http {
    sendfile on; tcp_nopush on; tcp_nodelay on;
    access_log off; keepalive_requests 100000000; keepalive_timeout 75;
    client_body_temp_path $work/a; proxy_temp_path $work/b; fastcgi_temp_path $work/c;
    uwsgi_temp_path $work/d; scgi_temp_path $work/e;
    types { text/plain txt; } default_type application/octet-stream;
    ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; ssl_protocols TLSv1.3;
    server { listen 127.0.0.1:${ports[0]} backlog=4096; listen 127.0.0.1:${ports[1]} ssl backlog=4096; root $work/www; }
}
CONF
nginx -e "$work/error.log" -c "$work/nginx.conf" &
theirs=$!
"$WINDLASS_HTTPS" --listen tcp://127.0.0.1:0 --listen tls://127.0.0.1:0 --cert "$work/cert.pem" --key "$work/key.pem" \
    --root "$work/www" >"$work/ours" &
ours=$!
until grep -q ^serving "$work/ours"; do sleep 0.1; done
until worker=$(pgrep -P "$theirs"); do sleep 0.1; done
declare -A plain=([nginx]=127.0.0.1:${ports[0]} [windlass]=$(sed -n 's/^listening on tcp:..//p' "$work/ours"))
declare -A tls=([nginx]=127.0.0.1:${ports[1]} [windlass]=$(sed -n 's/^listening on tls:..//p' "$work/ours"))
declare -A pid=([nginx]=$worker [windlass]=$ours)

cores=$(taskset -pc $$ | sed 's/.*: //; s/-/,/')
for process in "$worker" "$ours"; do taskset -pc "${cores%%,*}" "$process" >/dev/null; done
client() { taskset -c "${cores##*,}" "$@"; }

# Processor time so far, in ns: user and system.
used() { awk '{print $1}' "/proc/$1/schedstat"; }

file() { # who, scheme, address
    client curl -sk --tls13-ciphers TLS_AES_256_GCM_SHA384 -o /dev/null "$2://$3/1g"
    echo 1
}
small() {
    client wrk -t1 -c64 -d2s "$2://$3/1k.txt" >"$work/wrk"
    if grep -q -e Non-2xx -e 'Socket errors' "$work/wrk"; then cat "$work/wrk" >&2; exit 1; fi
    awk '/requests in/ {print $1}' "$work/wrk"
}

# name, function, scheme, unit, nanoseconds of the unit
measure() {
    local who round before count address
    declare -A took=()
    for ((round = 0; round < rounds; round++)); do
        for who in nginx windlass; do
            if [ "$3" = https ]; then address=${tls[$who]}; else address=${plain[$who]}; fi
            before=$(used "${pid[$who]}")
            count=$("$2" "$who" "$3" "$address")
            took[$who]=$((($(used "${pid[$who]}") - before) / count))
        done
        echo "${took[nginx]} ${took[windlass]}"
    done >"$work/rounds"
    median() { awk "{ print $1 }" "$work/rounds" | sort -g | sed -n "$(((rounds + 1) / 2))p"; }
    awk -v name="$1" -v a="$(median '$1')" -v b="$(median '$2')" -v ratio="$(median '$2 / $1')" -v unit="$4" -v div="$5" \
        'BEGIN { printf "%-34s nginx %9.2f %s  windlass %9.2f %s  ratio %.3f\n", name, a/div, unit, b/div, unit, ratio }'
}
measure "1 GiB, plain" file http ms 1000000
measure "1 GiB, TLS (AES-256-GCM)" file https ms 1000000
measure "1 KiB, keep-alive, 64, plain" small http us 1000
measure "1 KiB, keep-alive, 64, TLS" small https us 1000
