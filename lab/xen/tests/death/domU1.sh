. /lab/lib.sh
start_agent
n=0
while [ "$n" -lt 11 ]; do
    as_lab "myrixen verify --as a-domU1/0 --with a-domU1/0,a-domU2/0 --no-exchange --stream 600 --patience 120" >/tmp/said 2>&1 &
    verify=$!
    wait_for grep -q streaming /tmp/said
    signal "streams-$n"
    if wait "$verify"; then fail "the stream ended well without its partner"; fi
    tail -n 1 /tmp/said
    signal "failed-$n"
    wait_signal "counted-$n"
    n=$((n + 1))
done
wait_signal over
