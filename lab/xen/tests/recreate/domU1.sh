. /lab/lib.sh
ok "the argument of domain $(xenstore-read domid) is '$LAB_ARG'"
ping -c 1 -W 60 10.0.0.254 >/dev/null || fail "dom0 does not answer"
xenstore-write data/arg "$LAB_ARG"
