# code.awk - C code without its comments, for the house tests to search: FILE:LINE:CODE, one line
# each, lines without code left out. Strings stay. A line that carries -v marker='...' in a comment
# is left out, too: that is how a file says that a line is an exception and knows it.

FNR == 1 { in_comment = 0 }

{
    text = without_comments($0)
    if (text ~ /[^ \t]/ && !(marker != "" && index($0, marker)))
        print FILENAME ":" FNR ":" text
}

function without_comments(line,    out, at)
{
    out = ""
    while (line != "") {
        if (in_comment) {
            at = index(line, "*/")
            if (!at)
                return out
            in_comment = 0
            line = substr(line, at + 2)
            out = out " "
        } else if (match(line, /^"([^"\\]|\\.)*"/) || match(line, /^'([^'\\]|\\.)*'/)) {
            out = out substr(line, 1, RLENGTH)
            line = substr(line, RLENGTH + 1)
        } else if (substr(line, 1, 2) == "//") {
            return out
        } else if (substr(line, 1, 2) == "/*") {
            in_comment = 1
            line = substr(line, 3)
        } else {
            at = match(substr(line, 2), /["'\/]/)
            if (!at)
                return out line
            out = out substr(line, 1, at)
            line = substr(line, at + 1)
        }
    }
    return out
}
