# For the scripts of tests, and the inits, in all domains; busybox sh. lab/xen/README.md has a table of this.
# Scripts begin with `. /lab/lib.sh`: an unset variable or a failing command ends them.
set -eu
. /lab/config

# --- saying how it goes

# What the lab is to understand begins a line, even if somebody else has not ended theirs.
say() { printf '\n%s\n' "$*"; }
fail() { # MESSAGE...
    say "lab: FAILED: $*"
    exit 1
}
ok() { say "ok: $*"; }         # MESSAGE...: it is shown while the test runs
result() { say "result: $1"; } # JSON: an object for results.json, on one line
check() { # MESSAGE COMMAND...: the command must succeed
    local what=$1
    shift
    "$@" || fail "$what: $* ended with $?"
    ok "$what"
}
refuse() { # MESSAGE COMMAND...: the command must fail
    local what=$1
    shift
    "$@" && fail "$what: $* succeeded"
    ok "$what"
}

now_ms() { # milliseconds since the boot
    local up
    read -r up _ </proc/uptime
    up=${up%.*}${up#*.}
    while [ "${up#0}" != "$up" ]; do up=${up#0}; done # or it would be octal
    echo "${up:-0}0"
}

# --- waiting: without a limit of its own, since the test has one (timeout_s); the last line tells what for

wait_for() { # COMMAND...: until it succeeds
    "$@" && return
    echo "lab: waiting for: $*"
    until "$@"; do usleep 200000; done
}
wait_file() { wait_for test -e "$1"; } # PATH

# By a watch: each fork of a loop that looks again and again would slow everything else down.
wait_key() { # PATH [PATTERN]: until the key in xenstore has a value, or one that matches; prints it
    local fifo watcher value
    value=$(xenstore-read "$1" 2>/dev/null) || value=
    # shellcheck disable=SC2254 # it is a pattern
    case $value in ${2:-?*})
        echo "$value"
        return
        ;;
    esac
    echo "lab: waiting for the key $1${2:+ to be $2}" >&2
    fifo=$(mktemp -u /tmp/watch.XXXXXX)
    mkfifo "$fifo"
    xenstore-watch "$1" >"$fifo" &
    watcher=$!
    while read -r _; do
        value=$(xenstore-read "$1" 2>/dev/null) || continue
        # shellcheck disable=SC2254 # it is a pattern
        case $value in ${2:-?*}) break ;; esac
    done <"$fifo"
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true
    rm "$fifo"
    echo "$value"
}

# Signals: plain names of at most 32 letters, each raised once, seen by all domains of all hosts.
signal() { say "lab: signal $1"; }                      # NAME
wait_signal() { wait_key "/lab/signal/$1" >/dev/null; } # NAME

# --- users

as_lab() { su -s /bin/sh lab -c "$1"; } # 'COMMAND LINE': as the user lab (uid 1000)

# --- modules

load() { # MODULE...: with the parameters in lab.toml
    local module parameters
    for module in "$@"; do
        eval "parameters=\${LAB_MODULE_$(echo "$module" | tr - _):-}"
        # shellcheck disable=SC2086 # they are words
        modprobe "$module" $parameters || echo "lab: cannot load $module"
    done
}

# --- guests: in dom0 only

domid() { xl domid "$1" 2>/dev/null; } # NAME: fails when there is no such guest

relay_console() { # NAME: shows the guest's console from now on, whichever domain has the name
    local fifo=/var/log/xen/console/guest-$1.log
    [ -p "$fifo" ] && return
    mkfifo "$fifo"
    # Open for writing too, or it would end with the first domain of that name.
    awk -v p="<$1> " '{ print "\n" p $0; fflush() }' 0<>"$fifo" &
}

create_guest() { # NAME [ARG]: from /lab/NAME.cfg; ARG is LAB_ARG there
    relay_console "$1"
    local config=/lab/$1.cfg
    if [ -n "${2:-}" ]; then
        config=/tmp/$1.cfg
        sed "s|^extra=\"|&lab.arg=$2 |" "/lab/$1.cfg" >"$config"
    fi
    xl -f create -q "$config" >/dev/null || {
        say "lab: $1 was not created"
        return 1
    }
}

destroy_guest() { xl destroy "$1"; } # NAME: like pulling its plug

guest_key() { xenstore-read "/local/domain/$(domid "$1")/$2"; } # NAME KEY

wait_guest() { # NAME up|status: until it has booted, or its script has ended; prints the value. Fails when it is gone
    local id fifo watcher value=
    id=$(domid "$1") || return 1
    fifo=$(mktemp -u /tmp/watch.XXXXXX)
    mkfifo "$fifo"
    xenstore-watch "/local/domain/$id/data/lab/$2" @releaseDomain >"$fifo" &
    watcher=$!
    while read -r _; do
        value=$(xenstore-read "/local/domain/$id/data/lab/$2" 2>/dev/null) && break
        [ "$(domid "$1")" = "$id" ] || break
    done <"$fifo"
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true
    rm "$fifo"
    [ -n "$value" ] && echo "$value"
}

# --- the fabric

# A back end on this host, with wire0 as its uplink where there are two hosts. Its pid is in $backend.
start_backend() {
    mkdir -p /tmp/state
    {
        printf '[host]\nname = "%s"\nid = "lab-%s"\nstate_dir = "/tmp/state"\nxen = "on"\n' "$LAB_HOST" "$LAB_HOST"
        printf '[log]\nlevel = "%s"\n' "${LAB_LOG:-info}"
        [ -z "${LAB_POLL_US:-}" ] || printf '[workers]\npoll_us = %s\n' "$LAB_POLL_US"
        [ ! -e /sys/class/net/wire0 ] ||
            printf '[[uplink]]\nname = "wire"\nkind = "ethernet"\ninterface = "wire0"\n'
    } >/tmp/myrixend.toml
    NO_COLOR=1 myrixend --config /tmp/myrixend.toml &
    backend=$!
    wait_file /run/myrixen/myrixen.sock
}
attach_guest() { # NAME [ARG...]: its board is called HOST-NAME, as a-domU1
    local name=$1
    shift
    myrixen attach "$(domid "$name")" --board "$LAB_HOST-$name" "$@"
}
# An agent in a guest, for every user; its pid is in $agent.
start_agent() {
    NO_COLOR=1 myrixen-agent --socket-mode 0666 &
    agent=$!
    wait_file /run/myrixen/myrixen.sock
    wait_key device/myrixen/0/state 4 >/dev/null
}
board() { echo "$LAB_HOST-$LAB_DOMAIN"; } # of this guest

# One who takes part in `myrixen verify`, as a user who may not open Xen's devices: SLOT ALL [OPTIONS]. What it says is in /tmp/said.SLOT.
verify() {
    if ! as_lab "myrixen verify --as $(board)/$1 --with $2 ${3:-}" >"/tmp/said.$1" 2>&1; then
        cat "/tmp/said.$1"
        fail "$(board)/$1: $(tail -n 1 "/tmp/said.$1")"
    fi
}
said() { grep "\"say\":\"$1\"" "/tmp/said.${2:-0}" | tail -n 1; } # WHAT [SLOT]
# What came of the stream, without its picture.
streamed() { said streamed "${1:-0}" | sed 's/"[a-z]*_bins":\[[^]]*\],//g'; } # [SLOT]
