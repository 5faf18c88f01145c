# The same in both guests.
start_agent
# Over a direct channel, and beside it over the back end.
verify 0 a-domU1/0,a-domU2/0 "--no-exchange --stream 45 --patience 200" &
direct=$!
verify 1 a-domU1/1,a-domU2/1 "--no-exchange --stream 45 --patience 200 --switched" &
switched=$!
for slot in 0 1; do wait_for grep -q streaming /tmp/said.$slot; done
signal "$LAB_DOMAIN-streams"
wait "$direct" || fail "the direct conversation"
wait "$switched" || fail "the switched conversation"
for slot in 0 1; do
    streamed $slot | grep -q '"lost":0,"duplicated":0,"reordered":0' || fail "messages were lost: $(streamed $slot)"
    result "{\"test\": \"suspend\", \"slot\": $slot, \"said\": $(streamed $slot)}"
done
check "the agent runs" kill -0 "$agent"
signal "$LAB_DOMAIN-done"
