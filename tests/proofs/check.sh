#!/bin/sh
# check.sh MODEL.pml - every state of a model, by spin: as it stands it must have no error; with each BROKEN_X that
# stands in it, it must have one, or the model would find nothing.
set -eu
model=$(realpath "$1")
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cp "$model" "$tree/model.pml"
cp "$(dirname "$model")/tso.h" "$tree"
cd "$tree"

# errors [DEFINE]: how many; the search must have been complete.
errors() {
    spin -a ${1:+"-D$1"} model.pml >spin.log 2>&1 || { cat spin.log >&2; exit 1; }
    cc -O0 -w -DSAFETY -DVECTORSZ=2048 -o pan pan.c
    ./pan -m100000 -w20 >pan.log 2>&1 || true
    if grep -q 'max search depth too small\|out of memory\|VECTORSZ' pan.log; then
        cat pan.log >&2
        exit 1
    fi
    sed -n 's/.*errors: \([0-9]*\)$/\1/p' pan.log
}

found=$(errors)
if [ "$found" != 0 ]; then
    spin -t -p model.pml | tail -80 >&2
    exit 1
fi
printf 'ok: %s\n' "$(sed -n 's/ *\([0-9]*\) states, stored.*/\1 states/p' pan.log)"

breaks=$(grep -o 'BROKEN_[A-Z_]*' model.pml | sort -u)
[ -n "$breaks" ] || { echo "nothing can be broken in $model" >&2; exit 1; }
for break in $breaks; do
    found=$(errors "$break")
    [ "${found:-0}" != 0 ] || { echo "not found: $break" >&2; exit 1; }
    printf 'found: %s (%s)\n' "$break" "$(sed -n 's/^pan:1: \(.*\) (at.*/\1/p' pan.log)"
done
