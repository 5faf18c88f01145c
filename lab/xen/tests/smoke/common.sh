# What holds in every domain. /dev/xen/xenbus speaks xenstore's wire protocol; the tools use it, too.
for device in xenbus gntdev gntalloc evtchn; do
    check "root may open /dev/xen/$device" sh -c ": <>/dev/xen/$device"
    refuse "the user lab may not open /dev/xen/$device" as_lab ": <>/dev/xen/$device" 2>/dev/null
done
[ "$(as_lab 'id -u')" = 1000 ] || fail "the user lab is not 1000"
for library in xenvchan xengnttab xenevtchn xenstore; do
    ls "/lib/x86_64-linux-gnu/lib$library.so."* >/dev/null || fail "lib$library is missing"
done
