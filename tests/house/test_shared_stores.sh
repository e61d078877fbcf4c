#!/bin/sh
# Every store to shared memory goes through objectstore/word.h, where tests can die before it.
#
# So atomics are changed nowhere else in objectstore/ and runtime/, except those that no other process
# sees: such a line says so with the words `private atomic` in a comment. Then the proof that this
# test can fail.
set -eu
house=$(cd "$(dirname "$0")" && pwd)
root=${DMRT_SOURCE_DIR:-$house/../..}
marker='private atomic'

# violations TREE: one line each.
violations() (
    cd "$1"
    code=$(find objectstore runtime -name '*.[ch]' 2>/dev/null | sort |
        xargs -r awk -v marker="$marker" -f "$house/code.awk")
    [ -n "$code" ] || return 0
    lines=$(mktemp)
    printf '%s\n' "$code" >"$lines"
    awk -f "$house/stores.awk" pass=1 "$lines" pass=2 "$lines"
    rm -f "$lines"
)

found=$(violations "$root")
if [ -n "$found" ]; then
    echo 'stores that may reach shared memory unseen by the tests that die before each:'
    echo "$found"
    echo "(an atomic that no other process sees says so on its line: /* $marker */)"
    exit 1
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

# planted LINE...: what is found in a copy of the tree where runtime/zz.c has these lines.
planted() {
    rm -rf "$copy/tree"
    mkdir -p "$copy/tree/runtime" "$copy/tree/objectstore"
    for room in objectstore runtime; do
        [ ! -d "$root/$room" ] || cp -R "$root/$room/." "$copy/tree/$room"
    done
    printf '%s\n' "$@" >"$copy/tree/runtime/zz.c"
    violations "$copy/tree"
}

caught() {
    if ! planted "$@" | grep -q "^runtime/zz.c:$#: "; then
        echo 'not caught:'
        printf '    %s\n' "$@"
        exit 1
    fi
}

let_be() {
    if [ -n "$(planted "$@")" ]; then
        echo 'caught without reason:'
        printf '    %s\n' "$@"
        exit 1
    fi
}

caught '    atomic_store_explicit(&word, 1, memory_order_release);'
caught '    atomic_fetch_add(&count, 1);'
caught '    if (atomic_compare_exchange_strong(&word, &old, 1))'
caught '    atomic_exchange (&word, 1);'
caught '    __atomic_store_n(&word, 1, __ATOMIC_RELEASE);'
caught '    __sync_fetch_and_add(&word, 1);'
caught 'struct zz { dmi_word zz_state[2]; };' '    zz->zz_state[1] = 1;'
caught 'struct zz {' '    _Atomic uint32_t zz_count;' '};' '    (*zz).zz_count += 1;'
caught 'struct zz { atomic_uint zz_count; };' '    zz->zz_count++;'

let_be '    atomic_fetch_add(&count, 1); /* private atomic: log lines of this process */'
let_be '    x = atomic_load(&word); /* never atomic_store() here */'
let_be 'struct zz { dmi_word zz_state; };' '    if (zz->zz_state == 1)' '    dmi_word_publish(&zz->zz_state, 1);'
let_be 'struct zz { dmi_word zz_state; };' 'struct yy {' '    int zz_state;' '};' '    yy->zz_state = 1;'
