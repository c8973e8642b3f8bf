#!/bin/sh
# The linker of `make dist`: it links the binary, runs it, and links it again with the functions that have run side by side.
#
# The kernel maps sixteen pages of a program around each one that is used. The functions that an ordinary `sidekick` uses are a
# third of all, and lie among the others as the compiler leaves them, so nearly all are mapped. The compiler's names of
# functions are new with each version of itself and of the crates, so the order is made with the binary.
set -eu

output='' previous=''
for argument; do
    if [ "$previous" = -o ]; then output=$argument; fi
    previous=$argument
done
case ${output##*/} in
sidekick-*) ;;
*) exec cc "$@" ;; # a build script
esac

# Only this linker takes an order; it comes with the compiler.
lld=-B$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/gcc-ld
if [ ! -x "${lld#-B}/ld.lld" ]; then
    echo "link-in-order.sh: there is no ${lld#-B}/ld.lld, so the functions stay where the compiler has put them" >&2
    exec cc "$@" -Wl,--strip-all
fi
# The functions that unwind are in the binary itself: one library less to load, and to have in memory.
set -- -l:libgcc_eh.a "$@" "$lld" -fuse-ld=lld
cc "$@"
"${0%/*}/functions-in-use.sh" "$output" >"$output.order"
cc "$@" -Xlinker --symbol-ordering-file="$output.order" -Wl,--no-warn-symbol-ordering -Wl,--strip-all
