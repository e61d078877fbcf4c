# interleave.sh - runs contestants in turn (A B C A B C ...), gathers and compares what they say.
# A question's `run` sets these, sources this file and calls `interleave "$@"`:
#
#   contestants=("dmrt --engine processes" "openmp_tasks")   executables beside each other, or paths
#   baseline=openmp_tasks                                    whom the first one is compared with
#   published=FILE                                           figures of other machines, or empty
#   default_runs=7
# shellcheck shell=bash disable=SC2154 # set by who sources this

usage() {
    cat <<END
usage: run BINARIES [--runs N] [--workers N] [--only CASE] [--live MIB] [--store MIB]
    [--json FILE] [--document PAGE]
--document puts the table into a page of Markdown, between the lines <!-- bench: QUESTION --> and <!-- end -->.
BINARIES is where this question's contestants were built; ./dev bench knows.
END
    exit 2
}

# The commit that was built, and whether the tree differs from it.
commit() {
    local name
    name=$(git -C "$here" rev-parse --short=12 HEAD 2>/dev/null) || name=none
    [ -z "$(git -C "$here" status --porcelain 2>/dev/null | head -1)" ] || name+=-dirty
    printf '%s\n' "$name"
}

# CPU time in clock ticks: of the whole machine (also what its host took away), and of our children.
machine_ticks() {
    awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 + $9 }' /proc/stat
}

children_ticks() {
    # fields 16 and 17 of stat are the ended children's; the name before them holds no space here
    awk -v field=16 '{ print $field + $(field + 1) }' "/proc/$$/stat"
}

# The program of a contestant, in $program, and its words.
read_contestant() {
    read -r -a words <<<"$1"
    program=${words[0]}
    [[ $program = /* ]] || program=$binaries/$program
}

# Which Debian package a contestant needs that is not here; nothing if it can run.
package_missing() {
    local words program
    read_contestant "$1"
    case ${words[*]} in
        *python_pools*dask*) /usr/bin/python3 -c 'import distributed' 2>/dev/null || echo python3-distributed ;;
        *python_pools*) [ -x /usr/bin/python3 ] || echo python3 ;;
        mpi_*) { [ -x "$program" ] && command -v mpirun >/dev/null; } || echo libopenmpi-dev openmpi-bin ;;
        starpu_*) [ -x "$program" ] || echo libstarpu-dev ;;
        tbb_*) [ -x "$program" ] || echo g++ libtbb-dev ;;
        libomp_*) [ -x "$program" ] || echo clang libomp-dev ;;
        openmp_*) [ -x "$program" ] || echo libgomp1 ;;
        *) ;;
    esac
}

# Leaves those contestants that can run, and names the others.
name_missing() {
    local contestant package here_too=()
    for contestant in "${contestants[@]}"; do
        package=$(package_missing "$contestant")
        if [ -z "$package" ]; then
            here_too+=("$contestant")
        else
            printf '%s: missing: install %s\n' "${contestant##*/}" "$package" >&2
        fi
    done
    contestants=("${here_too[@]}")
}

one_round() {
    local contestant words program
    for contestant in "${contestants[@]}"; do
        read_contestant "$contestant"
        timeout 300 "$program" "${words[@]:1}" "${passed[@]}" </dev/null >>"$round_lines" || {
            printf 'run: %s failed: no comparison without right answers\n' "$contestant" >&2
            exit 1
        }
    done
}

# A round, and whether it had the machine to itself: others used less than 5 % of it meanwhile.
undisturbed_round() {
    local machine children started
    : >"$round_lines"
    machine=$(machine_ticks) children=$(children_ticks) started=$EPOCHREALTIME
    one_round
    machine=$(($(machine_ticks) - machine)) children=$(($(children_ticks) - children))
    awk -v others=$((machine - children)) -v from="$started" -v to="$EPOCHREALTIME" \
        -v ticks="$(getconf CLK_TCK)" -v cpus="$(nproc)" \
        'BEGIN { exit !(others / ticks < 0.05 * cpus * (to - from)) }'
}

# into_page PAGE FILE: the text of FILE to its place in PAGE.
into_page() {
    local place
    place="<!-- bench: $(basename "$here") -->"
    grep -qxF -e "$place" "$1" || {
        printf 'run: %s has no line %s\n' "$1" "$place" >&2
        exit 1
    }
    awk -v place="$place" -v text="$2" '
        /^<!-- end -->$/ { inside = 0 }
        !inside { print }
        $0 == place {
            inside = 1
            while ((getline line <text) > 0) print line
        }' "$1" >"$round_lines"
    cat "$round_lines" >"$1"
}

interleave() {
    export LC_ALL=C
    [ $# -ge 1 ] || usage
    binaries=$1
    runs=${default_runs:-7}
    passed=()
    local document='' gathering=(--baseline "$baseline")
    [ -z "${published-}" ] || gathering+=(--published "$published")
    shift
    while [ $# -gt 0 ]; do
        [ $# -ge 2 ] || usage
        case $1 in
            --runs) runs=$2 ;;
            --json) gathering+=(--json "$2") ;;
            --document) document=$2 ;;
            --workers|--only|--live|--store) passed+=("$1" "$2") ;;
            *) usage ;;
        esac
        shift 2
    done
    here=$(dirname "$(readlink -f "$0")")
    BENCH_COMMIT=$(commit)
    export BENCH_COMMIT
    lines=$(mktemp) round_lines=$(mktemp) table=$(mktemp)
    trap 'rm -f "$lines" "$round_lines" "$table"' EXIT
    [ -z "$document" ] || gathering+=(--markdown "$table")
    name_missing
    # A round that others disturbed is done again, as long as there is patience.
    local kept=0 disturbed=0 patience=$runs
    while [ "$kept" -lt "$runs" ]; do
        [ ! -t 2 ] || printf '\rrun %d of %d ' $((kept + 1)) "$runs" >&2
        if ! undisturbed_round; then
            if [ "$patience" -gt 0 ]; then
                patience=$((patience - 1))
                continue
            fi
            disturbed=$((disturbed + 1))
        fi
        cat "$round_lines" >>"$lines"
        kept=$((kept + 1))
    done
    [ ! -t 2 ] || printf '\r                \r' >&2
    "$binaries/../support/gather" "${gathering[@]}" <"$lines"
    [ -z "$document" ] || into_page "$document" "$table"
    [ "$disturbed" -eq 0 ] ||
        printf '\nOther programs disturbed %d of the %d runs: trust the ratios, not the figures.\n' \
            "$disturbed" "$runs"
}
