# stores.awk - over the output of code.awk: changes of atomics outside objectstore/word.h.
#
# In two passes: the first collects the names of atomic fields, the second finds calls that store, and
# plain assignments to such a field (which C makes atomic stores). A name that some other struct gives
# to a plain field is not looked for.

BEGIN { calls = "(^|[^A-Za-z0-9_])(__)?(c11_)?(atomic_(store|exchange|fetch|compare|init|flag_test" \
                "|flag_clear)|sync_)[a-z0-9_]*[ \t]*\\(|__atomic_(store|exchange|fetch|compare|add" \
                "|sub|and|or|xor|nand|test_and_set|clear)[a-z0-9_]*[ \t]*\\(" }

{
    split($0, field, ":")
    where = field[1] ":" field[2] ":"
    code = substr($0, length(where) + 1)
}

pass == 1 {
    if (match(code, /(^|[^A-Za-z0-9_])(dmi_word|_Atomic[^*;=]*|atomic_[a-z0-9]+(_t)?)[ \t]+[A-Za-z_][A-Za-z0-9_]*[ \t]*(\[[^]]*\][ \t]*)*;/)) {
        name = substr(code, RSTART, RLENGTH)
        sub(/[ \t]*(\[[^]]*\][ \t]*)*;$/, "", name)
        sub(/^.*[^A-Za-z0-9_]/, "", name)
        atomic[name] = 1
    } else if (match(code, /^[ \t]*[A-Za-z_][A-Za-z0-9_ \t*]*[ \t*][A-Za-z_][A-Za-z0-9_]*[ \t]*(\[[^]]*\][ \t]*)*;/) &&
               code !~ /^[ \t]*(return|goto)/) {
        name = substr(code, RSTART, RLENGTH)
        sub(/[ \t]*(\[[^]]*\][ \t]*)*;$/, "", name)
        sub(/^.*[^A-Za-z0-9_]/, "", name)
        plain[name] = 1
    }
    next
}

where ~ /^objectstore\/word\.h:/ { next }

code ~ calls {
    print where " a store that does not go through objectstore/word.h: " code
    next
}

{
    rest = code
    while (match(rest, /[])A-Za-z0-9_](->|\.)[A-Za-z_][A-Za-z0-9_]*(\[[^]]*\])*[ \t]*([-+|&^]?=[^=]|\+\+|--)/)) {
        name = substr(rest, RSTART + 1, RLENGTH - 1)
        rest = substr(rest, RSTART + RLENGTH)
        sub(/^(->|\.)/, "", name)
        sub(/[^A-Za-z0-9_].*$/, "", name)
        if (name in atomic && !(name in plain)) {
            print where " a plain assignment to the atomic `" name "`: " code
            next
        }
    }
}
