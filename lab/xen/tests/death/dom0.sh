. /lab/lib.sh
start_backend
attach_guest domU1
# What Xen counts: granted pages and event channels of a domain, after the dust has settled.
grants() { # DOMID
    xl dmesg -c >/dev/null
    xl debug-keys g
    xl dmesg | awk -v d="remote d$1 " '/grant-table for/ { on = index($0, d) } on && /\[0x/ { n++ } END { print n + 0 }'
}
channels() { # DOMID
    xl dmesg -c >/dev/null
    xl debug-keys e
    xl dmesg | awk -v d="$1" '/Event channel information for domain/ { on = ($NF == d ":") } on && /s=/ { n++ } END { print n + 0 }'
}
one=$(domid domU1)
destroyed=0
while [ "$destroyed" -lt 11 ]; do
    [ "$destroyed" = 0 ] || create_guest domU2 "$destroyed"
    wait_guest domU2 up >/dev/null
    attach_guest domU2
    wait_signal "streams-$destroyed"
    sleep 2
    two=$(domid domU2)
    destroy_guest domU2
    # Its partner's program has ended with an error, and the next one waits.
    wait_signal "failed-$destroyed"
    # Its memory is free as soon as nobody maps it any more.
    wait_for sh -c "! xl list | grep -q null"
    refuse "its keys are gone" xenstore-read "/local/domain/0/backend/myrixen/$two/0/state"
    now="$(grants "$one") $(channels "$one") $(channels 0)"
    say "destroyed $destroyed: grants of domU1, its event channels, dom0's: $now"
    signal "counted-$destroyed"
    # The first time, things are opened that stay.
    [ "$destroyed" = 0 ] && before=$now
    destroyed=$((destroyed + 1))
done
result "{\"test\": \"death\", \"destroyed\": 10, \"before\": \"$before\", \"after\": \"$now\"}"
[ "$before" = "$now" ] || fail "grants and event channels were $before, and are $now"
signal over
