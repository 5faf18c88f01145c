# Both guests do the same: slot 0 has direct channels, slot 1 has none, all stream to all. The agent of domU1 dies in the middle, too.
start_agent
verify 1 "a-domU1/1,a-domU2/1" "--no-exchange --stream 60 --switched --patience 200" &
other=$!
verify 0 "a-domU1/0,a-domU2/0" "--no-exchange --stream 60 --patience 200" &
direct=$!
wait_for grep -q streaming /tmp/said.0
wait_for grep -q streaming /tmp/said.1
signal "$LAB_DOMAIN-streams"
wait_signal killed
if [ "$LAB_N" = 1 ]; then
    kill -9 "$agent"
    sleep 3
    rm -f /run/myrixen/myrixen.sock
    start_agent
fi
wait "$direct" || fail "$(board)/0"
wait "$other" || fail "$(board)/1"
for slot in 0 1; do
    books=$(streamed $slot)
    for fault in lost duplicated reordered; do
        case $books in *"\"$fault\":0,"* | *"\"$fault\":0}"*) ;; *) fail "slot $slot: $fault: $books" ;; esac
    done
    result "{\"test\": \"restart\", \"slot\": $slot, \"said\": $books}"
done
signal "$LAB_DOMAIN-done"
