. /lab/lib.sh
start_agent
signal connected
wait_signal detached
wait_key device/myrixen/0/state 4 >/dev/null
check "programs are attached again" as_lab "myrixen info | grep -q hot"
signal again
