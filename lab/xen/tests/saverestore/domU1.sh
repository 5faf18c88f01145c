. /lab/lib.sh
old=$(xenstore-read domid)
xenstore-write data/before "$old"
# The watch on this is a relative one, and made before the guest is saved.
new=$(wait_key data/after)
check "a watch from before sees a key from after" test "$new" != "$old"
check "it knows its number" test "$(xenstore-read domid)" = "$new"
