# Of both hosts: MXoE and the migration share the wire.
mac=02:00:00:00:0a:01
port=7000
start_backend
ip address add "10.9.0.$1/24" dev wire0
