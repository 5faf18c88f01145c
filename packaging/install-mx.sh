#!/bin/sh
# Builds what MX programs need and installs it: libmyriexpress.so and .a, headers, the pkg-config file, MX's tools, man pages.
#
#   packaging/install-mx.sh [--prefix DIR] [--destdir DIR] [--built DIR]
#
# --prefix: where it is to be used, /usr/local unless given. --destdir: put before the prefix while it is installed, as packages are made.
# --built: the folder that holds libmyriexpress.so and .a, if they are built already.
# Takes cargo and a C compiler ($CC, or cc).
set -eu
prefix=/usr/local destdir='' built=''
usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
    --prefix) prefix=$2 ;;
    --destdir) destdir=$2 ;;
    --built) built=$(cd "$2" && pwd) ;;
    *) usage ;;
    esac
    shift 2
done
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
case $destdir in '' | /*) ;; *) destdir=$PWD/$destdir ;; esac

cd "$(dirname "$0")/.."
if [ -z "$built" ]; then
    cargo ffi --locked --package myriexpress
    built=${CARGO_TARGET_DIR:-target}/ffi
fi
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
mx=ffi/myriexpress root=$destdir$prefix

# Whatever profile it was built with, it has what programs are promised.
if command -v nm >/dev/null; then
    has=$(nm -D --defined-only "$built/libmyriexpress.so" | sed 's/^[0-9a-f]* //' | LC_ALL=C sort)
    if [ "$has" != "$(LC_ALL=C sort "$mx/symbols.txt")" ]; then
        echo "$built/libmyriexpress.so has other symbols than $mx/symbols.txt lists:" >&2
        echo "$has" | diff "$mx/symbols.txt" - >&2 || true
        exit 1
    fi
fi

mkdir -p "$root/lib/pkgconfig" "$root/include/mx_internals" "$root/bin" "$root/share/man/man1"

# Removed first: a program that has the old library mapped keeps it.
put() { # MODE FROM TO
    rm -f "$3"
    cp "$2" "$3"
    chmod "$1" "$3"
}
put 755 "$built/libmyriexpress.so" "$root/lib/libmyriexpress.so"
put 644 "$built/libmyriexpress.a" "$root/lib/libmyriexpress.a"
for header in "$mx"/include/*.h; do put 644 "$header" "$root/include/$(basename "$header")"; done
for header in "$mx"/include/mx_internals/*.h; do put 644 "$header" "$root/include/mx_internals/$(basename "$header")"; done
for page in "$mx"/man/*.1; do put 644 "$page" "$root/share/man/man1/$(basename "$page")"; done
sed "s|@prefix@|$prefix|; s|@version@|$version|" "$mx/include/myriexpress.pc.in" >"$root/lib/pkgconfig/myriexpress.pc"
chmod 644 "$root/lib/pkgconfig/myriexpress.pc"
for tool in "$mx"/tools/*.c; do
    # They find the library wherever the tree is put.
    # shellcheck disable=SC2016 # the linker is to see $ORIGIN
    ${CC:-cc} -std=c11 -D_DEFAULT_SOURCE -O2 "$tool" -o "$root/bin/$(basename "$tool" .c)" -I "$mx/include" \
        -L "$root/lib" -lmyriexpress '-Wl,-rpath,$ORIGIN/../lib'
done
echo "MX for MyriXen $version is in $root"
