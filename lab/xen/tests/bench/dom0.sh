. /lab/lib.sh
LAB_POLL_US=0 # everybody sleeps
start_backend
attach_guest domU1
attach_guest domU2
# Guests do not know each other's number: in keys that every domain may read.
for name in domU1 domU2; do xenstore-write "/lab/domid-$name" "$(domid "$name")"; done
wait_signal domU1-done
