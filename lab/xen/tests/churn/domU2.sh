. /lab/lib.sh
start_agent
for endpoint in 1 2; do
    as_lab "myrixen perf serve --endpoint $endpoint" >"/tmp/serve.$endpoint" 2>&1 &
    wait_for grep -q serving "/tmp/serve.$endpoint"
done
signal serves
wait_signal domU1-done
signal domU2-done
