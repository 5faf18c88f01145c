. /lab/lib.sh
. ./common.sh
wait_signal serving
# A back end asks for the names of others once it has a guest.
myrixen perf serve >/dev/null &
wait_for sh -c "myrixen info | grep -q a:0"
received() { read -r bytes </sys/class/net/wire0/statistics/rx_bytes && read -r frames </sys/class/net/wire0/statistics/rx_packets; }
received
before_bytes=$bytes before_frames=$frames
check "messages go and come" myrixen perf pingpong a:0:1 --sizes 64k --seconds 1 --json /tmp/perf.json
received
mean=$(((bytes - before_bytes) / (frames - before_frames)))
# Eight frames carry 64 KiB, and a few short ones say so.
check "frames are longer than 1518 bytes: $mean on average" test "$mean" -gt 1518
result "{\"mean_frame_bytes\": $mean, \"records\": $(tr -d '\n' </tmp/perf.json)}"
signal measured
