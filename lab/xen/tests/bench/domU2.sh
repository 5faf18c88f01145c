. /lab/lib.sh
# Answers everything that domU1 measures.
start_agent
as_lab 'myrixen perf serve --endpoint 1' >/tmp/serve 2>&1 &
as_lab 'MYRIXEN_WAIT=sleep mx-pingpong -s -w -e 2' >/tmp/mx 2>&1 &
myrixen perf peer tcp serve 10.0.0.2:7001 >/dev/null &
myrixen perf peer udp serve 10.0.0.2:7002 >/dev/null &
partner=$(wait_key /lab/domid-domU1)
# Keys below our data/ that the library lets the partner read.
path=/local/domain/$(xenstore-read domid)/data/vchan
vchan serve "$partner" "$path" &
wait_key "$path/event-channel" >/dev/null
wait_for grep -q serving /tmp/serve
signal domU2-ready
wait_signal domU1-done
