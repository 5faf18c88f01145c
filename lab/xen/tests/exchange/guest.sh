# Both guests do the same.
start_agent
all=a-domU1/0,a-domU1/1,a-domU2/0,a-domU2/1
for way in "" --switched; do
    for slot in 0 1; do
        # As a user who may not open Xen's devices.
        as_lab "myrixen verify --as $(board)/$slot --with $all --patience 240 $way" >"/tmp/said.$slot" 2>&1 &
        eval "verify$slot=$!"
    done
    for slot in 0 1; do
        eval "pid=\$verify$slot"
        if ! wait "$pid"; then
            cat "/tmp/said.$slot"
            fail "$(board)/$slot $way"
        fi
        last=$(grep '"exchanged"' "/tmp/said.$slot") || fail "$(board)/$slot said nothing of an exchange"
        result "{\"test\": \"exchange\", \"way\": \"${way:---direct}\", \"slot\": $slot, \"said\": $last}"
    done
done
signal "$LAB_DOMAIN-done"
