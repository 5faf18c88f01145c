. /lab/lib.sh
# Measures: every contestant once a round, so that what the machine does besides hits all of them alike.
rounds=5
[ "$LAB_QUICK" = 0 ] || rounds=2
seconds=1
start_agent
wait_signal domU2-ready
partner=$(wait_key /lab/domid-domU2)

report() { # FILE: the records in it, one a line
    local line
    while read -r line; do
        case $line in "{"*) result "${line%,}" ;; esac
    done <"$1"
}
ours() { # TEST SIZE [OPTIONS]
    local test=$1 size=$2
    shift 2
    check "$test of $size bytes $*" as_lab \
        "myrixen perf $test a-domU2:1 --sizes $size --seconds $seconds --json /tmp/ours.json $* >/tmp/said 2>&1 || { tail -n 5 /tmp/said; exit 1; }"
    report /tmp/ours.json
}
peer() { # tcp|udp TEST SIZE
    local port=7001
    [ "$1" = tcp ] || port=7002
    check "$1 $2 of $3 bytes" \
        myrixen perf peer "$1" "$2" "10.0.0.2:$port" --sizes "$3" --seconds "$seconds" --json /tmp/peer.json >/dev/null
    report /tmp/peer.json
}
xenvchan() { # TEST SIZE
    vchan "$1" "$partner" "/local/domain/$partner/data/vchan" "$2" "$seconds" >/tmp/vchan.json || fail "vchan $*"
    report /tmp/vchan.json
}
mx() { # direct|switched SIZE [VARIABLE]: the same path by MX's interface, right behind ours
    local half
    as_lab "MYRIXEN_WAIT=sleep ${3:-} mx-pingpong -d a-domU2 -r 2 -w -m -S $2 -E $2 -N 2000 -W 200" >/tmp/said 2>&1 || {
        tail -n 5 /tmp/said
        fail "MX's ping-pong, $1"
    }
    half=$(awk 'END { printf "%d", $2 * 1000 }' /tmp/said)
    result "{\"test\": \"pingpong\", \"path\": \"peer:mx-$1\", \"size\": $2, \"half_rtt_ns\": {\"p50\": $half, \"p99\": $half, \"p999\": $half}, \"wait\": \"sleep\", \"iterations\": 2000}"
}
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    echo "lab: round $round"
    ours pingpong 8
    mx direct 8
    ours pingpong 8 --no-direct
    mx switched 8 MX_DISABLE_SHMEM=1
    peer tcp pingpong 8
    peer udp pingpong 8
    xenvchan pingpong 8
    ours stream 1m
    ours stream 1m --lent
    ours stream 1m --no-direct
    peer tcp stream 1m
    xenvchan stream 1048576
done
signal domU1-done
