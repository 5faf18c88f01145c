# Both guests do the same.
start_agent
all=a-domU1/0,a-domU1/1,a-domU2/0,a-domU2/1
for way in "" --switched; do
    verify 1 "$all" "--patience 240 $way" &
    other=$!
    verify 0 "$all" "--patience 240 $way"
    wait "$other" || fail "$(board)/1 $way"
    for slot in 0 1; do
        in_place=$(said exchanged $slot | sed 's/.*"in_place":\([0-9]*\).*/\1/')
        # Of 18 large messages from the program of this domain all are read in place, of 36 from the other domain's two programs the
        # 16 that are sent from lent memory.
        if [ -z "$way" ]; then
            [ "$in_place" -ge 26 ] || fail "slot $slot read $in_place messages in place: few or none from lent memory"
        fi
        result "{\"test\": \"exchange\", \"way\": \"${way:---direct}\", \"slot\": $slot, \"said\": $(said exchanged $slot)}"
    done
done
signal "$LAB_DOMAIN-done"
