. /lab/lib.sh
. ./common.sh
for n in 1 2; do
    check "domU$n runs" domid "domU$n"
    wait_key "/local/domain/$(domid "domU$n")/data/hello" "from domU$n"
    xenstore-write "/local/domain/$(domid "domU$n")/data/answer" "to domU$n"
done
result '{"guests": 2}'
