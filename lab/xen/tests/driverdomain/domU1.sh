. /lab/lib.sh
start_backend
signal "serves-${LAB_ARG:-first}"
wait_signal over
