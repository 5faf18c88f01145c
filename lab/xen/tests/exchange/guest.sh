# Both guests do the same.
start_agent
all=a-domU1/0,a-domU1/1,a-domU2/0,a-domU2/1
for way in "" --switched; do
    verify 1 "$all" "--patience 240 $way" &
    other=$!
    verify 0 "$all" "--patience 240 $way"
    wait "$other" || fail "$(board)/1 $way"
    for slot in 0 1; do
        result "{\"test\": \"exchange\", \"way\": \"${way:---direct}\", \"slot\": $slot, \"said\": $(said exchanged $slot)}"
    done
done
signal "$LAB_DOMAIN-done"
