#!/usr/bin/env bash
# A program that none of us wrote: NetPIPE's module for MX, of Debian's source package, built unmodified on our library; its whole
# sweep of sizes with the data checked. The source is fetched when it is not there, and is not ours to keep.
set -euo pipefail
cd "$(dirname "$0")/../../.."

work="${CARGO_TARGET_DIR:-$PWD/target}/netpipe"
source="$work/source"

fetch() {
    local suite keys=/usr/share/keyrings/debian-archive-keyring.gpg
    suite="$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")"
    # The machine need not have a deb-src line, and keeps its own lists.
    rm -rf "$work" && mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$source"
    echo "deb-src [signed-by=$keys] http://deb.debian.org/debian $suite main" >"$work/apt/sources.list"
    local apt=(apt-get -qq -o "Dir::Etc::SourceList=$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache" -o APT::Sandbox::User=root)
    "${apt[@]}" update
    # apt checks the signature and the sums.
    (cd "$work" && "${apt[@]}" source --download-only --tar-only netpipe)
    tar -xf "$work"/netpipe_*.orig.tar.* -C "$source" --strip-components=1
    rm -rf "$work/apt"
}

[ -f "$source/src/mx.c" ] || fetch
[ "${1:-}" != --fetch-only ] || exit 0
MYRIXEN_NETPIPE="$source" exec cargo test -p myriexpress --test netpipe -- --nocapture
