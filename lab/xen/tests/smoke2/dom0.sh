. /lab/lib.sh
. ./common.sh
myrixen perf serve --endpoint 1 &
wait_for sh -c 'myrixen info | grep -q a:0'
signal serving
wait_signal measured
