# faults.awk - over all tests, then tests/faults/README.md: what the table says that is not so, a line each.

function wrong(text)
{
    print "row " number " " text
}

function name_of(path)
{
    sub(/.*\//, "", path)
    return path
}

# In the tests: which cases are in a table of cases.
FILENAME !~ /README\.md$/ {
    file = name_of(FILENAME)
    is_there[file] = 1
    if (FILENAME ~ /\/faults\//)
        must_be_named[file] = 1
    rest = $0
    while (match(rest, /(cmocka_unit_test[a-z_]*|[A-Z_]*CASES?)\([a-z0-9_]+[,)]/)) {
        name = substr(rest, RSTART, RLENGTH - 1)
        rest = substr(rest, RSTART + RLENGTH)
        sub(/.*\(/, "", name)
        has_case[file, name] = 1
    }
    next
}

function check_name(name)
{
    if (name ~ /\.c$/) {
        file = name
        named++
        is_named[file] = 1
        if (!(file in is_there))
            wrong("names " file ", which is not there")
    } else if (file == "") {
        wrong("names the case " name " of no file")
    } else if (file in is_there && !((file, name) in has_case)) {
        wrong("names the case " name ", which is not in " file)
    }
}

function check_tests(tests,    count, group, g)
{
    named = 0
    count = split(tests, group, /;[ \t]*/)
    for (g = 1; g <= count; g++) {
        file = ""
        while (match(group[g], /`[^`]+`/)) {
            check_name(substr(group[g], RSTART + 1, RLENGTH - 2))
            group[g] = substr(group[g], RSTART + RLENGTH)
        }
    }
}

function check_status(status)
{
    if (status == "none yet" && named > 0)
        wrong("is \"none yet\" and names tests")
    else if (status ~ /^(tested|partly|stand-in)$/ && named == 0)
        wrong("is \"" status "\" and names no test")
    else if (status !~ /^(none yet|tested|partly|stand-in)$/)
        wrong("has the status \"" status "\", which means nothing")
}

/^\| *S?[0-9]+ *\|/ {
    columns = split($0, column, /[ \t]*\|[ \t]*/)
    number = column[2]
    rows[number]++
    check_tests(column[columns - 2])
    check_status(column[columns - 1])
    next
}

/^\|/ && !/^\| *(row|soak) / && !/^\|-/ { print "no row begins like this: " $0 }

function check_row(row)
{
    number = row
    if (rows[row] != 1)
        wrong("is there " (rows[row] + 0) " times")
    delete rows[row]
}

END {
    for (i = 1; i <= 68; i++)
        check_row(i)
    for (i = 1; i <= 6; i++)
        check_row("S" i)
    for (number in rows)
        wrong("is known to nobody")
    for (file in must_be_named)
        if (!(file in is_named))
            print "tests/faults/" file " is in no row"
}
