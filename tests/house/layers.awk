# layers.awk - the law of rooms, over the output of code.awk. Prints FILE:LINE: and what is wrong.
#
# include <- objectstore <- runtime, and include <- models. Third-party headers stay in their room;
# those of `once` are wrapped by one .c file each, so that a library can be replaced in one place.

BEGIN {
    # What each room may include, as a pattern of paths from the root of the tree.
    may["include"] = "^dm/"
    may["objectstore"] = "^(dm/status\\.h$|objectstore/)"
    may["runtime"] = "^(dm/(dm|pace|status)\\.h$|objectstore/|runtime/[^/]*$)"
    may["command"] = "^(dm/|objectstore/|runtime/|bench/)"
    may["models"] = "^(dm/|models/)"
    may["bench"] = "^(dm/|bench/|support/|\\.\\./support/|runtime/policy\\.h$)" # pure: a model asks it, too
    may["examples"] = "^dm/"

    third_party("lz4", "^lz4.*\\.h$", "objectstore bench", "once")
    third_party("jemalloc", "^jemalloc/", "objectstore", "once")
    third_party("xxHash", "^xxh", "objectstore", "")
    third_party("msgpack", "^msgpack", "runtime", "once")
    third_party("libuv", "^uv(\\.h$|/)", "runtime bench", "")
    third_party("OpenBLAS", "^(cblas|f77blas|lapack|openblas)", "models", "once")
    third_party("NIfTI", "^(nifti|znz)", "models", "once")
    third_party("zlib", "^zlib\\.h$", "models bench", "once")
    third_party("cJSON", "^(cjson/)?cJSON", "command bench", "")
    third_party("libpng", "^(libpng[0-9]*/)?png", "command bench", "")

    standard = "^(assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp" \
        "|signal|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|stdnoreturn|string" \
        "|tgmath|threads|time|uchar|wchar|wctype)\\.h$"
}

function third_party(name, pattern, rooms, limit)
{
    libraries[name] = pattern
    home[name] = " " rooms " "
    once[name] = limit == "once"
}

{
    split($0, field, ":")
    file = field[1]
    where = file ":" field[2] ":"
    code = substr($0, length(where) + 1)
}

code ~ /^[ \t]*#[ \t]*include[ \t]*["<]/ {
    quoted = code ~ /include[ \t]*"/
    header = code
    sub(/^[^"<]*["<]/, "", header)
    sub(/[">].*$/, "", header)
    law(room_of(file), header, quoted)
}

function room_of(file)
{
    if (file ~ /^include\//) return "include"
    if (file ~ /^objectstore\//) return "objectstore"
    if (file ~ /^runtime\/dm\//) return "command"
    if (file ~ /^runtime\//) return "runtime"
    if (file ~ /^models\//) return "models"
    if (file ~ /^bench\//) return "bench"
    if (file ~ /^docs\/examples\//) return "examples"
    return ""
}

function law(room, header, quoted,    name)
{
    if (header ~ /(^|\/)\.\.?\//) {
        print where " \"" header "\": say the room, not the way there"
        return
    }
    if (header ~ /^(dm|objectstore|runtime|models|tests|bench|docs|include)\//) {
        if (header !~ may[room])
            print where " " file " may not include " header " (law of rooms, CONTRIBUTING.md)"
        return
    }
    for (name in libraries) {
        if (header ~ libraries[name]) {
            third(name, room)
            return
        }
    }
    if (room == "include" && header !~ standard)
        print where " a public header may include dm/ and C standard headers, not " header
}

function third(name, room)
{
    if (!index(home[name], " " room " ")) {
        print where " " name " belongs to" home[name] "and not to " room
    } else if (room == "bench") {
        return # a floor or a rival, which wraps nothing
    } else if (once[name] && file !~ /\.c$/) {
        print where " " name " is included by one .c file, never by a header"
    } else if (once[name] && name in first && first[name] != file) {
        print where " " name " is wrapped by " first[name] " already; use that"
    } else if (!(name in first)) {
        first[name] = file
    }
}
