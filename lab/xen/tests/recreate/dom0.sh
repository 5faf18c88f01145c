. /lab/lib.sh
for round in 1 2 3; do
    old=$(domid domU1)
    wait_guest domU1 status >/dev/null
    destroy_guest domU1
    refuse "round $round: it is gone" domid domU1
    began=$(now_ms)
    create_guest domU1 "round-$round"
    wait_guest domU1 up >/dev/null
    check "round $round: it is another domain" test "$(domid domU1)" != "$old"
    wait_key "/local/domain/$(domid domU1)/data/arg" "round-$round" >/dev/null
    result "{\"round\": $round, \"up_ms\": $(($(now_ms) - began))}"
done
