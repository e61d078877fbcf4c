# not_taken.awk - over tests/coverage/rooms, tests/coverage/reasons and the branches (branches.jq): for each source file
# how many ways there are, two for each condition, and how many were gone; and each that was not, with its line and the
# reason if one is known.
#
# Three kinds count for nothing: what assert() does when it fails is for our bugs, and never happens; a function whose
# name ends in _valid is a walker over laws that are never broken, for tests; DMI_STEP is the tests' own hook.
#
# Writes, to the files named by -v: `table` (Markdown), `open` (not taken and no reason), `known` (not taken, and why, a
# Markdown table without head), `totals` (room, ways, taken, with a reason). A reason that fits nothing is told.

function relative(path)
{
    sub("^" root "/", "", path)
    return path
}

function squeezed(text)
{
    gsub(/[ \t]+/, " ", text)
    gsub(/^ | $/, "", text)
    return text
}

# The lines of a source file, and which belong to an assertion or to the hook.
function read_source(path,    line, n, depth, inside, walker, i, c)
{
    n = inside = walker = 0
    while ((getline line < path) > 0) {
        n++
        source[file, n] = squeezed(line)
        if (!inside && match(line, /(^|[^a-z_])assert\(/)) {
            inside = 1
            depth = 0
        }
        if (line ~ /^(static )?bool [a-z_]+_valid\(/)
            walker = 1
        is_ours[file, n] = inside || walker || line ~ /DMI_STEP\(|dmi_step_hook/
        if (line ~ /^}/)
            walker = 0
        if (inside) {
            for (i = 1; i <= length(line); i++) {
                c = substr(line, i, 1)
                depth += (c == "(") - (c == ")")
            }
            inside = depth > 0
        }
    }
    close(path)
}

FILENAME ~ /rooms$/ {
    if (NF == 2 && $1 !~ /^#/)
        room[$1] = $2
    next
}

# FILE :: the line, blanks squeezed :: what it never is: true, false or both :: why
FILENAME ~ /reasons$/ {
    if ($0 ~ /^#/ || $0 == "")
        next
    split($0, part, / :: /)
    if (part[4] == "" || part[3] !~ /^(true|false|both)$/)
        print "tests/coverage/reasons: not understood: " $0
    reason[part[1], part[2]] = part[4]
    side_of[part[1], part[2]] = part[3]
    next
}

{
    file = relative($1)
    if (!(file in is_known)) {
        is_known[file] = 1
        files[++file_count] = file
        read_source($1)
    }
    if (is_ours[file, $2])
        next
    key = file SUBSEP $2 SUBSEP $3 SUBSEP $4
    if (!(key in is_true)) {
        is_true[key] = is_false[key] = 0
        keys[++key_count] = key
    }
    if ($5 > 0)
        is_true[key] = 1
    if ($6 > 0)
        is_false[key] = 1
}

function way(key, was_taken, side,    at, why)
{
    split(key, at, SUBSEP)
    file = at[1]
    ways[file]++
    taken[file] += was_taken
    if (was_taken)
        return
    why = file SUBSEP source[file, at[2]]
    if (!(why in reason) || (side_of[why] != "both" && side_of[why] != side)) {
        print file ":" at[2] ":" at[3] ": never " side ": " source[file, at[2]] > open
        return
    }
    excused[file]++
    if (!(why in is_used)) {
        is_used[why] = 1
        used[++used_count] = why
    }
}

function share(part, whole)
{
    return sprintf("%.1f %%", int(1000 * part / whole) / 10)
}

function add(name, file)
{
    all[name] += ways[file]
    got[name] += taken[file]
    why[name] += excused[file]
}

END {
    printf "" > open
    printf "" > known
    printf "" > table
    for (i = 1; i <= key_count; i++) {
        way(keys[i], is_true[keys[i]], "true")
        way(keys[i], is_false[keys[i]], "false")
    }
    for (i = 1; i <= file_count; i++) {
        file = files[i]
        if (ways[file] == 0)
            continue
        printf "| `%s` | %s | %d | %d | %s | %d |\n", file, (file in room ? room[file] : ""), ways[file], taken[file],
               share(taken[file], ways[file]), excused[file] > table
        if (file in room)
            add(room[file], file)
        split(file, folder, "/")
        add(folder[1] "/", file)
    }
    for (name in all)
        printf "%s %d %d %d\n", name, all[name], got[name], why[name] > totals
    for (i = 1; i <= used_count; i++) {
        split(used[i], part, SUBSEP)
        gsub(/\|/, "\\|", part[2])
        printf "| `%s` | `%s` | %s | %s |\n", part[1], part[2], side_of[used[i]], reason[used[i]] > known
    }
    for (key in reason)
        if (!(key in is_used)) {
            split(key, part, SUBSEP)
            print "tests/coverage/reasons: taken by now, or gone: " part[1] " :: " part[2]
        }
}
