. /lab/lib.sh
wait_signal over
