. /lab/lib.sh
. ./guest.sh
wait_signal domU1-done
