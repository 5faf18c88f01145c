. /lab/lib.sh
start_backend
attach_guest domU1
attach_guest domU2

# The most bytes that an endpoint of this board was seen to have sent through the back end: BOARD.
most() { awk -v who=" $1:" 'index($0, who) && sub(/.*bytes sent */, "") && $1 + 0 > most { most = $1 + 0 } END { print most + 0 }' /tmp/counted; }

for way in direct switched; do
    wait_signal "$way-begins"
    myrixen counters --watch 0.3 >/tmp/counted &
    watcher=$!
    wait_signal "$way-ended"
    kill "$watcher"
    for board in a-domU1 a-domU2; do
        bytes=$(most "$board")
        result "{\"test\": \"through the back end\", \"way\": \"$way\", \"board\": \"$board\", \"bytes\": $bytes}"
        # To meet takes some hundred bytes. `pingpong` sends 1,000 times 64 KiB, which takes longer than the time between two looks on any emulated machine; what it sends
        # after the last look is not seen.
        if [ "$way" = direct ]; then
            [ "$bytes" -gt 0 ] && [ "$bytes" -lt 10000 ] || fail "$board has sent $bytes bytes through the back end beside direct channels"
        else
            [ "$bytes" -gt 100000 ] || fail "$board has sent $bytes bytes through the back end: what carried the rest?"
        fi
    done
done
myrixen list
