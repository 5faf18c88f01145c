. /lab/lib.sh
. ./guest.sh other-streams
wait "$stream" || fail "the conversation"
streamed | grep -q '"lost":0,"duplicated":0,"reordered":0' || fail "messages were lost: $(streamed)"
result "{\"test\": \"migrate\", \"other\": $(streamed)}"
signal other-done
