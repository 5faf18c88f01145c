# Both guests do the same.
start_agent
all=a-domU2/0,a-domU3/0
for way in "" --switched; do
    verify 0 "$all" "--patience 120 $way"
    result "{\"test\": \"driverdomain\", \"way\": \"${way:---direct}\", \"said\": $(said exchanged)}"
done
stream() { # SLOT [OPTIONS]
    as_lab "myrixen verify --as $(board)/$1 --with a-domU2/$1,a-domU3/$1 --no-exchange --stream 6 --patience 120 ${2:-}" >"/tmp/said.$1" 2>&1
}
ended() { # PID SLOT
    wait "$1" || { grep -v streaming "/tmp/said.$2"; fail "$(board)/$2: $(tail -n 1 "/tmp/said.$2")"; }
}
stream 1 &
direct=$!
stream 2 --switched &
switched=$!
for slot in 1 2; do wait_for grep -q streaming "/tmp/said.$slot"; done
signal "$LAB_DOMAIN-streams"
wait_signal destroyed
ended "$direct" 1
ok "the direct stream has not noticed: $(said streamed 1 | cut -c1-110)"
signal "$LAB_DOMAIN-direct-went-on"
ended "$switched" 2
ok "the switched stream waited for the next driver domain: $(said streamed 2 | cut -c1-110)"
signal "$LAB_DOMAIN-streamed"
wait_signal over
