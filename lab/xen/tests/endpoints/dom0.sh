. /lab/lib.sh
start_backend
attach_guest domU1
wait_signal domU1-done
