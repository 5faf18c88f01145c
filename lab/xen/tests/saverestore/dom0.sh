. /lab/lib.sh
old=$(domid domU1)
wait_key "/local/domain/$old/data/before"
began=$(now_ms)
check "it is saved" xl save domU1 /tmp/domU1.save
saved=$(now_ms)
refuse "it is gone meanwhile" domid domU1
check "it is restored" xl restore /tmp/domU1.save
restored=$(now_ms)
new=$(domid domU1)
check "it has another number" test "$new" != "$old"
refuse "its keys are gone" xenstore-read "/local/domain/$new/data/before"
xenstore-write "/local/domain/$new/data/after" "$new"
result "{\"save_ms\": $((saved - began)), \"restore_ms\": $((restored - saved))}"
