#!/bin/sh
# The law of rooms: who may include what (layers.awk has it). Then the proof that this test can fail:
# each kind of violation is planted in a copy of the tree, and must be named by file and line.
set -eu
house=$(cd "$(dirname "$0")" && pwd)
root=${DMRT_SOURCE_DIR:-$house/../..}

# violations TREE: one line each.
violations() (
    cd "$1"
    find include objectstore runtime models bench docs/examples -name '*.[ch]' 2>/dev/null |
        sort | xargs -r awk -f "$house/code.awk" | awk -f "$house/layers.awk"
)

found=$(violations "$root")
if [ -n "$found" ]; then
    echo 'the law of rooms is broken:'
    echo "$found"
    exit 1
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/empty"

# caught FILE LINE...: in a copy of the tree that has FILE with these lines, its last line is named.
caught() {
    planted=$1
    shift
    rm -rf "$copy/tree"
    mkdir "$copy/tree"
    for room in include objectstore runtime models bench docs/examples; do
        mkdir -p "$copy/tree/$room"
        [ ! -d "$root/$room" ] || cp -R "$root/$room/." "$copy/tree/$room"
    done
    mkdir -p "$(dirname "$copy/tree/$planted")"
    printf '%s\n' "$@" >"$copy/tree/$planted"
    if ! violations "$copy/tree" | grep -q "^$planted:$#: "; then
        echo "not caught: $planted with"
        printf '    %s\n' "$@"
        exit 1
    fi
}

caught include/dm/zz.h '#include <unistd.h>'
caught include/dm/zz.h '#include "objectstore/heap.h"'
caught include/dm/zz.h '#include <uv.h>'
caught objectstore/zz.c '/* fine */' '#include "dm/status.h"' '#include "dm/dm.h"'
caught objectstore/zz.c '#include "runtime/session.h"'
caught objectstore/zz.h '# include "../runtime/session.h"'
caught objectstore/zz.c '#include <uv.h>'
caught objectstore/zz.h '#include <lz4.h>'
caught runtime/zz.c '#include <dm/models.h>'
caught runtime/zz.c '#include "models/csd.h"'
caught runtime/zz.c '#include "runtime/dm/command.h"'
caught runtime/zz.c '#include <lapacke.h>'
caught runtime/dm/zz.c '#include "dm/models.h"' '#include "models/csd.h"'
caught models/zz.c '#include "dm/dm.h"' '#include "models/own.h"' '#include "objectstore/heap.h"'
caught models/zz.c '/* a' '   b */ #include "runtime/session.h"'
caught bench/zz/zz.c '#include "runtime/session.h"'
caught docs/examples/zz.c '#include "models/csd.h"'

# The second wrapper of a library, in a tree with nothing else in it.
root=$copy/empty
mkdir "$root/models"
echo '#include <cblas.h>' >"$root/models/first.c"
caught models/second.c '#include <lapacke.h>'
