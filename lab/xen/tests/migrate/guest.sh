# The same in both guests: SIGNAL says that the stream goes. Its pid is in $stream.
start_agent
verify 0 a-domU1/0,b-domU1/0 "--no-exchange --stream 40 --patience 200" &
stream=$!
wait_for grep -q streaming /tmp/said.0
signal "$1"
