# What both guests begin with: names, an agent, and a way for mpirun to start a process here.
hostname "$LAB_DOMAIN"
printf '127.0.0.1 localhost\n10.0.0.1 domU1\n10.0.0.2 domU2\n' >/etc/hosts
start_agent
as_lab "nc -ll -p 7000 -e /lab/test/shell" &
signal "$LAB_DOMAIN-ready"
