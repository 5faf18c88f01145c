. /lab/lib.sh
start_backend
cp vif-myrixen /etc/xen/scripts/
ln -s vif-lab /etc/xen/scripts/vif-bridge
mkdir -p /etc/myrixen/domains
echo "--board hot --mac 02:00:00:00:00:77" >/etc/myrixen/domains/domU2
sed -i 's/script=vif-lab/script=vif-myrixen/' /lab/domU2.cfg
create_guest domU2
wait_signal connected
two=$(domid domU2)
myrixen list
check "it is as its file says" sh -c "myrixen list | grep '^ *$two *0 *hot *02:00:00:00:00:77 .*Connected *Connected'"
check "it is detached" myrixen detach "$two"
refuse "its keys are gone" xenstore-read "/local/domain/$two/device/myrixen/0/state"
signal detached
check "it is attached again" myrixen attach "$two" --board hot
wait_signal again
refuse "no device for a domain that is not there" myrixen attach 77
signal over
