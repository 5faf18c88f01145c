. /lab/lib.sh
start_backend
# Who has the lower address lends the pages of a channel: the domain whose programs come and go.
attach_guest domU1 --mac 02:00:00:00:00:01
attach_guest domU2 --mac 02:00:00:00:00:02
one=$(domid domU1)
grants() { # how many pages of domU1 Xen has as granted
    xl dmesg -c >/dev/null
    xl debug-keys g
    xl dmesg | awk -v d="remote d$one " '/grant-table for/ { on = index($0, d) } on && /\[0x/ { n++ } END { print n + 0 }'
}
as_before() { [ "$(grants)" = "$before" ]; }
wait_signal before
before=$(grants)
say "domU1 grants $before pages"
signal before-counted
for at in closed killed; do
    wait_signal "$at"
    # The kernel looks once a second for what it may take back.
    wait_for as_before
    ok "$at: as many again"
    signal "$at-counted"
done
wait_signal domU2-done
