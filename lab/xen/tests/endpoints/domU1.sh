. /lab/lib.sh
start_agent
# Twice: what the first one had must have come back.
for time in 1 2; do
    as_lab endpoints >/tmp/said || { cat /tmp/said; fail "time $time"; }
    cat /tmp/said
    grep -q '^256 endpoints are open; the next one: .*256 ports are open' /tmp/said ||
        fail "not 256, or for another reason"
    grep -q 'a message went around' /tmp/said || fail "no message went around"
done
result '{"test": "endpoints", "open": 256}'
signal domU1-done
