. /lab/lib.sh
start_backend
attach_guest domU1
attach_guest domU2
wait_signal domU1-done
wait_signal domU2-done
myrixen list
