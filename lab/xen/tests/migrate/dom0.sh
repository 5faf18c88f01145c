. /lab/lib.sh
. ./host.sh 1
attach_guest domU1 --mac "$mac"
wait_signal mover-streams
wait_signal other-streams
old=$(domid domU1)
wait_signal receiving
began=$(now_ms)
check "domU1 lets go" myrixen suspend "$old"
# The other host has a domU1 already.
xl rename domU1 mover
# Not `xl migrate`: it moves the domain while it runs, which this emulated Xen cannot (no log of dirty pages: EINVAL).
mkfifo /tmp/wire
nc 10.9.0.2 "$port" -e cat /tmp/wire &
sender=$!
check "it is saved to the other host" xl save mover /tmp/wire
wait "$sender" || fail "the connection to the other host"
took=$(($(now_ms) - began))
refuse "it is gone here" domid mover
wait_signal streamed
refuse "its device is gone too" sh -c "myrixen list | grep a-domU1"
result "{\"test\": \"migrate\", \"took_ms\": $took}"
