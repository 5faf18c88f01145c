. /lab/lib.sh
check "domU2 maps what domU1 grants" xen_probe map 1
