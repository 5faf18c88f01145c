# A back end on this host, with the wire as its uplink.
cat >/tmp/myrixend.toml <<END
[host]
name = "$LAB_HOST"
id = "lab-$LAB_HOST"
state_dir = "/tmp/state"
[[uplink]]
name = "wire"
kind = "ethernet"
interface = "wire0"
END
check "wire0 takes jumbo frames" test "$(cat /sys/class/net/wire0/mtu)" = 9000
NO_COLOR=1 myrixend --config /tmp/myrixend.toml &
wait_file /run/myrixen/myrixen.sock
