. /lab/lib.sh
start_backend
attach_guest domU1
attach_guest domU2
one=$(domid domU1)
# A program of this host and one of domU2 exchange messages meanwhile.
myrixen verify --board d0 --as d0/0 --with d0/0,a-domU2/0 --stream 25 --patience 200 >/tmp/said 2>&1 &
verify=$!
wait_signal hostile-done
if ! wait "$verify"; then
    tail -n 3 /tmp/said
    fail "the others were disturbed: $(tail -n 1 /tmp/said)"
fi
grep '"streamed"' /tmp/said | grep -q '"lost":0,"duplicated":0,"reordered":0' || fail "messages were lost"
check "the back end runs" kill -0 "$backend"
check "the fault is counted" sh -c "myrixen counters --prometheus | grep fault | grep -v ' 0$'"
error=$(xenstore-read "/local/domain/0/backend/myrixen/$one/0/error")
check "it says why: $error" test -n "$error"
# It is forgiven with a new device.
check "it is detached" myrixen detach "$one"
check "it is attached again" attach_guest domU1
signal forgiven
wait_signal domU1-done
result "{\"test\": \"hostile\", \"error\": \"$error\"}"
