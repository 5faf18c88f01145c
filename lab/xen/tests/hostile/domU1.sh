. /lab/lib.sh
key=device/myrixen/0
wait_key $key/state 1 >/dev/null
refuse "it cannot write the back end's keys" xenstore-write "$(xenstore-read $key/backend)/mac" 02:00:00:00:00:01
refuse "it cannot make itself another domain's back end" xenstore-write "/local/domain/0/backend/myrixen/77/0/online" 1
# States in any order, values that are none, references that are nobody's.
for state in 4 6 5 1 77 x "" 1 6 4 1; do xenstore-write $key/state "$state"; done
n=0
while [ "$n" -lt 100 ]; do
    xenstore-write $key/state $((n % 3 + 4))
    n=$((n + 1))
done
for junk in 0 1 8 4294967295 99999999999999999999 nonsense; do
    xenstore-write $key/state 1
    xenstore-write $key/ring-ref "$junk"
    xenstore-write $key/event-channel "$junk"
    xenstore-write $key/state 3
done
wait_key "$(xenstore-read $key/backend)/state" 6 >/dev/null
ok "the back end has closed it"
signal hostile-done
wait_signal forgiven
# Pages that look like a control ring, of which the first cannot be mapped for writing: the kernel that tries must not mind.
mkfifo /tmp/hold
xen_probe unwritable 0 </tmp/hold >/tmp/unwritable &
exec 3>/tmp/hold
wait_for test -s /tmp/unwritable
read -r page channel </tmp/unwritable
wait_key $key/state 1 >/dev/null
xenstore-write $key/ring-ref "$page"
xenstore-write $key/event-channel "$channel"
xenstore-write $key/version 1
xenstore-write $key/state 3
why=$(wait_key "$(xenstore-read $key/backend)/error")
ok "the back end says: $why"
exec 3>&-
start_agent
check "it is attached" as_lab "myrixen info | grep -q a-domU1"
signal domU1-done
