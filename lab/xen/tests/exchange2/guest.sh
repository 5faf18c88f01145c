# All four guests do the same.
start_agent
all=a-domU1/0,a-domU2/0,b-domU1/0,b-domU2/0
verify 0 "$all" "--patience 400"
result "{\"test\": \"exchange\", \"way\": \"all\", \"said\": $(said exchanged)}"
signal "$(board)-done"
