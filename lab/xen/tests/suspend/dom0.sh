. /lab/lib.sh
wait_direct() { wait_for sh -c "myrixen counters --prometheus | grep -q '^myrixen_direct_channels 1'"; }
start_backend
attach_guest domU1
attach_guest domU2
wait_signal domU1-streams
wait_signal domU2-streams
mac=$(myrixen list | awk '$3 ~ /domU1/ { print $4 }')
# Not saved after all.
old=$(domid domU1)
check "domU1 lets go" myrixen suspend "$old"
myrixen list
check "it goes on" myrixen resume "$old"
wait_direct
ok "it has a direct channel again"
began=$(now_ms)
check "domU1 lets go again" myrixen suspend "$old"
let_go=$(now_ms)
check "it is saved" xl save domU1 /tmp/domU1.img
check "it is restored" xl restore /tmp/domU1.img
rm /tmp/domU1.img
restored=$(now_ms)
check "it has another number" test "$(domid domU1)" != "$old"
check "it is attached again" attach_guest domU1 --mac "$mac"
wait_direct
attached=$(now_ms)
ok "it has a direct channel again"
wait_signal domU1-done
wait_signal domU2-done
myrixen counters --prometheus | grep -E 'board_held.* [1-9]' || fail "nothing was sent meanwhile: this shows nothing"
refuse "the kernels are well" sh -c 'xl dmesg | grep -i "bug"'
result "{\"test\": \"suspend\", \"let_go_ms\": $((let_go - began)), \"save_restore_ms\": $((restored - let_go)), \"attach_ms\": $((attached - restored))}"
