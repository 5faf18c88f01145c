. /lab/lib.sh
start_agent
as_lab "myrixen verify --as a-domU2/0 --with a-domU1/0,a-domU2/0 --no-exchange --stream 600 --patience 120" >/tmp/said 2>&1
cat /tmp/said
fail "it outlived its end"
