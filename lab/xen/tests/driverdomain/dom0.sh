. /lab/lib.sh
# domU1 is the driver domain. Of MyriXen only the toolstack's part runs here.
grants() { # DOMID: how many pages of it Xen has as granted
    xl dmesg -c >/dev/null
    xl debug-keys g
    xl dmesg | awk -v d="remote d$1 " '/grant-table for/ { on = index($0, d) } on && /\[0x/ { n++ } END { print n + 0 }'
}
no_zombies() { ! xl list | grep -q null; }
no_key() { ! xenstore-read "$1" >/dev/null 2>&1; }
serve() { # the guests are served by the domU1 that there is
    for name in domU2 domU3; do attach_guest "$name" --back-end "$(domid domU1)"; done
}
two=$(domid domU2)
three=$(domid domU3)
before=$(grants "$two")

wait_signal serves-first
first=$(domid domU1)
serve
rights() { # KEY: its owner and who else may read it, as xenstore has it
    xenstore-ls -p "${1%/*}" | sed -n "s/^${1##*/} = .*(\(.*\))\$/\1/p"
}
for key in "" /state; do
    path=/local/domain/$two/device/myrixen/0$key
    check "the front end's ${key:-folder}" test "$(rights "$path")" = "n$two,r$first"
    path=/local/domain/$first/backend/myrixen/$two/0$key
    check "the back end's ${key:-folder}" test "$(rights "$path")" = "n$first,r$two"
done
wait_signal domU2-streams
wait_signal domU3-streams
myrixen list --back-end "$first"
destroy_guest domU1
signal destroyed
wait_for no_zombies
ok "nothing keeps the driver domain's memory"
wait_signal domU2-direct-went-on
wait_signal domU3-direct-went-on

# Another driver domain takes its place; what waited for it goes on.
create_guest domU1 second
wait_signal serves-second
for id in "$two" "$three"; do
    check "the device of domain $id is detached from the domain that is gone" myrixen detach "$id"
done
serve
wait_signal domU2-streamed
wait_signal domU3-streamed

# A guest of it dies: it hears of that by the guest's folder.
second=$(domid domU1)
destroy_guest domU3
wait_for no_zombies
wait_for no_key "/local/domain/$second/backend/myrixen/$three/0/state"
ok "nothing is left of domU3"
check "domU2 stays" xenstore-read "/local/domain/$second/backend/myrixen/$two/0/state"
check "domU2 is detached" myrixen detach "$two"
as_before() { [ "$(grants "$two")" = "$before" ]; }
wait_for as_before
ok "all that domU2 granted has come back"
signal over
