. /lab/lib.sh
start_agent
verify 0 a-domU1/0,b-domU1/0 "--no-exchange --stream 40 --patience 200" &
stream=$!
wait_for grep -q streaming /tmp/said.0
signal other-streams
wait "$stream" || fail "the conversation"
said streamed | grep -q '"lost":0,"duplicated":0,"reordered":0' || fail "messages were lost: $(said streamed)"
result "{\"test\": \"migrate\", \"other\": $(said streamed | sed 's/"[a-z]*_bins":\[[^]]*\],//g')}"
signal other-done
