. /lab/lib.sh
check "xenstore in dom0" xen_probe store
check "dom0 maps what domU1 grants" xen_probe map 1
