# What both guests do: alone, with each other by our programs, and by one that none of us wrote.
start_agent

# As a user who may not open Xen's devices: NAME COMMAND LINE.
run() {
    as_lab "$2" >"/tmp/$1.log" 2>&1 || {
        cat "/tmp/$1.log"
        fail "$(board): $1"
    }
    ok "$1: $(tail -n 1 "/tmp/$1.log")"
}

run calls "mx-calls $(board)"
signal "$LAB_DOMAIN-called"
wait_signal "${other#a-}-called"
for shared in 0 1; do
    run "pair-$shared" "MX_DISABLE_SHMEM=$shared MX_MAX_RETRIES=60 mx-pair $role $other"
done

# The one that answers has to be there first.
cd /tmp
before=$(now_ms)
if [ "$role" = a ]; then
    signal netpipe
    run netpipe "cd /tmp && NPmx -i -n 2 -o /tmp/np.a"
else
    wait_signal netpipe
    sleep 1
    run netpipe "cd /tmp && NPmx -i -n 2 -o /tmp/np.b -h $other"
    passed=$(grep -c "Integrity check passed" /tmp/netpipe.log) || true
    [ "$passed" -ge 40 ] || {
        cat /tmp/netpipe.log
        fail "NetPIPE has checked $passed sizes"
    }
    grep -q "8388609 bytes" /tmp/netpipe.log || fail "NetPIPE's sweep is not whole"
    result "{\"test\": \"netpipe\", \"sizes\": $passed, \"ms\": $(($(now_ms) - before))}"
fi
signal "$LAB_DOMAIN-done"
