. /lab/lib.sh
. ./host.sh 2
attach_guest domU1
mkfifo /tmp/wire
# nc itself moves a kilobyte at a time.
printf '#!/bin/sh\nexec cat >/tmp/wire\n' >/tmp/receive
chmod +x /tmp/receive
nc -l -p "$port" -e /tmp/receive &
signal receiving
check "it is restored here" xl restore /tmp/wire
id=$(domid mover)
check "it is attached here" myrixen attach "$id" --board a-domU1 --mac "$mac"
streamed=$(wait_key "/local/domain/$id/data/streamed")
result "{\"test\": \"migrate\", \"mover\": $streamed}"
echo "$streamed" | grep -q '"lost":0,"duplicated":0,"reordered":0' || fail "messages were lost: $streamed"
wait_signal other-done
signal streamed
