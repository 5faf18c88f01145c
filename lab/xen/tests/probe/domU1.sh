. /lab/lib.sh
check "xenstore in a guest" xen_probe store
check "domU1 grants to dom0" xen_probe grant 0
check "domU1 grants to domU2" xen_probe grant 2
# While it goes nothing else of this domain can write to xenstore.
check "quotas" xen_probe quotas
