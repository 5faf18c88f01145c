. /lab/lib.sh
start_agent
wait_signal serves
try() { # WHAT
    as_lab "myrixen perf pingpong a-domU2:1 --sizes 8 --seconds 0.02" >/tmp/said 2>&1 || { cat /tmp/said; fail "$*"; }
}
counted() { # NAME
    signal "$1"
    wait_signal "$1-counted"
}
try "the first client"
counted before

began=$(now_ms)
n=0
while [ "$n" -lt 30 ]; do
    n=$((n + 1))
    try "client $n"
done
result "{\"test\": \"churn\", \"how\": \"closed\", \"clients\": $n, \"ms\": $(($(now_ms) - began))}"
counted closed

began=$(now_ms)
n=0
while [ "$n" -lt 15 ]; do
    n=$((n + 1))
    # Not by a function, nor as_lab: it would be a shell that is killed.
    myrixen perf pingpong a-domU2:2 --sizes 8 --seconds 60 >/tmp/said 2>&1 &
    killed=$!
    usleep 700000
    kill -9 "$killed" || { cat /tmp/said; fail "client $n ended before it was killed"; }
    wait "$killed" || true
done
try "a client after $n killed ones"
result "{\"test\": \"churn\", \"how\": \"killed\", \"clients\": $n, \"ms\": $(($(now_ms) - began))}"
counted killed
signal domU1-done
