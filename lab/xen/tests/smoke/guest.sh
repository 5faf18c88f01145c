# Both guests do the same.
. ./common.sh
# Request 2 is XS_READ, 7 bytes: "domid" and its end. The reply has the same head, and the number.
reply=$({ printf '\2\0\0\0\1\0\0\0\0\0\0\0\6\0\0\0domid\0' >&3; dd bs=17 count=1 <&3 2>/dev/null; } 3<>/dev/xen/xenbus |
    od -An -c | tr -d ' \n')
case $reply in
'002\0\0\0001\0\0\0\0\0\0\0001\0\0\0'[0-9]) ok "xenstore answers the wire protocol: domain ${reply##*0}" ;;
*) fail "xenstore replied $reply" ;;
esac
xenstore-write data/hello "from $LAB_DOMAIN"
wait_key data/answer "to $LAB_DOMAIN"
signal "$LAB_DOMAIN-done"
wait_signal domU1-done
wait_signal domU2-done
result "{\"n\": $LAB_N, \"domid\": $(xenstore-read domid)}"
