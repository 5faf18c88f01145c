. /lab/lib.sh
start_backend
attach_guest domU1
attach_guest domU2
wait_signal domU1-streams
wait_signal domU2-streams
for kill in 1 2 3 4 5; do
    sleep 3
    kill -9 "$backend"
    wait "$backend" 2>/dev/null || true
    rm -f /run/myrixen/myrixen.sock
    start_backend
    say "back end killed and started again: $kill"
done
sleep 5
signal killed
wait_signal domU1-done
wait_signal domU2-done
myrixen list
