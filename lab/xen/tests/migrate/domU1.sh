. /lab/lib.sh
. ./guest.sh mover-streams
if wait "$stream"; then
    xenstore-write data/streamed "$(streamed)"
else
    xenstore-write data/streamed "$(tail -n 1 /tmp/said.0)"
fi
