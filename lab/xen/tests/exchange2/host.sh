# Both hosts' dom0s do the same.
start_backend
attach_guest domU1
attach_guest domU2
for who in a-domU1 a-domU2 b-domU1 b-domU2; do wait_signal "$who-done"; done
myrixen info
