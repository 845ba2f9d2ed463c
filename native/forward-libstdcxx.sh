#!/usr/bin/env bash
# TorchSharp's native half for Linux asks the C++ library for one symbol of GCC 13, an initialiser that older systems run by themselves
# (GLIBCXX_3.4.32 not found). Where the system's libstdc++ is older, this builds a library of the same name in FOLDER that has this
# symbol, empty, and forwards everything else to the system's:
#   bash forward-libstdcxx.sh FOLDER && export LD_LIBRARY_PATH=FOLDER
# Where the system's library is new enough, it makes nothing. It needs gcc and objdump.
set -uo pipefail
folder=${1:?the folder for the library is missing}
say() { echo "forward-libstdcxx: $*" >&2; }

real=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p | awk '/libstdc\+\+\.so\.6 .*x86-64/ { print $NF; exit }')
if [[ -z $real ]]; then
    say "found no libstdc++.so.6, which libtorch needs: install it (Debian and Ubuntu: apt-get install libstdc++6)."
    exit 1
fi
if grep -q GLIBCXX_3.4.32 "$real" || [[ -f $folder/libstdc++.so.6 ]]; then exit 0; fi
if ! command -v gcc objdump > /dev/null; then
    say "this system's libstdc++ is older than TorchSharp's, and there is no gcc to bridge the gap: install gcc" \
        "(Debian and Ubuntu: apt-get install gcc), or use a system with GCC 13's libraries (Debian 13, Ubuntu 24.04)."
    exit 1
fi
new=$folder.new.$$
trap 'rm -rf "$new"' EXIT
mkdir -p "$new" && log=$(
    cd "$new" || exit
    exec 2>&1
    # Every version that programs may ask for is defined here, empty; the loader then looks on in the real library,
    # which stands in this one by its path, because its name is the same.
    objdump -p "$real" | awk '/Version definitions/ { f = 1; next } /Version References/ { f = 0 } f && NF >= 4 { print $4 " { };" }' |
        grep -v '^libstdc' > map
    echo 'GLIBCXX_3.4.31 { }; GLIBCXX_3.4.32 { global: _ZSt21ios_base_library_initv; };' >> map
    echo 'void _ZSt21ios_base_library_initv(void) {}' > init.c
    echo > stub.c
    gcc -shared -nostdlib -o stub.so stub.c "-Wl,-soname,$real" &&
        gcc -shared -fPIC -nostdlib -o libstdc++.so.6 init.c \
            -Wl,-soname,libstdc++.so.6 -Wl,--version-script=map -Wl,--no-as-needed ./stub.so
) && mkdir -p "$folder" && mv "$new/libstdc++.so.6" "$folder/libstdc++.so.6" || {
    say "could not build the forwarding libstdc++: ${log-}"
    exit 1
}
