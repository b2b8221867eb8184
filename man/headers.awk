# headers.awk - reads public headers, writes what they declare: one record a line, in the headers'
# order, fields separated by tabs. What the manual pages and the list of the ABI are made from.
#
#     file      NAME INCLUDED DOC     INCLUDED: 1 where segmenter.h gives it too; DOC: the opening words
#     section   TITLE
#     text      DOC                   a comment that stands alone
#     function  NAME TYPE ARGS DOC    ARGS are separated by "|"; none: "void"
#     callback  NAME TYPE ARGS DOC    a typedef of a function
#     handle    NAME DOC              an opaque struct
#     struct    NAME DOC              followed by its members
#     enum      NAME DOC              followed by its constants
#     member    DECLARATION DOC       without the ";"
#     constant  NAME VALUE DOC        VALUE is empty where it is one more than the last one
#     define    NAME VALUE DOC
#
# DOC is the text of the comment above, then of the one behind; its lines end with "\036". A table of the kind
# NAME_MAP(X) is shown through the enum that is made from it: what comes after a row's first two fields is
# the constant's text.
#
# Relies on the style that scripts/check-format keeps. What it cannot read, it refuses, with status 1.

BEGIN {
    OFS = "\t"
    NEWLINE = "\036"
}

function refuse(what) {
    printf "%s:%d: cannot read %s\n", FILENAME, FNR, what > "/dev/stderr"
    failed = 1
    exit 1
}

function squeeze(text) {
    gsub(/[ \t\n]+/, " ", text)
    sub(/^ /, "", text)
    sub(/ $/, "", text)
    return text
}

# The words of a comment, which is given with its marks. Lines keep what they are indented by, beyond " * ".
function words(comment,    n, line, i, text) {
    sub(/^[ \t]*\/\*+ ?/, "", comment)
    sub(/[ \t]*\*\/[ \t]*$/, "", comment)
    n = split(comment, line, "\n")
    for (i = 1; i <= n; i++) {
        if (i > 1 && !sub(/^ \* ?/, "", line[i]))
            sub(/^[ \t]+(\* )?/, "", line[i])
        sub(/[ \t]+$/, "", line[i])
        text = text line[i] (i < n ? NEWLINE : "")
    }
    return text
}

function both(above, behind) {
    return above (above != "" && behind != "" ? NEWLINE : "") behind
}

# "a, b, c" -> "a|b|c"
function arguments(text,    i, c, depth, all) {
    text = squeeze(text)
    for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        depth += (c == "(") - (c == ")")
        if (c == "," && depth == 0) {
            c = "|"
            if (substr(text, i + 1, 1) == " ")
                i++
        }
        all = all c
    }
    return all
}

# ---- Bodies of structs and enums: code and comments in turn --------------------------------------

# A comment on the line of what it is about comes behind it, one on a line of its own before it.
function body(kind, text, separator,    at, start, comment, code, above, fresh, count) {
    code = above = ""
    count = 0
    fresh = 1
    pending = ""
    while (text != "") {
        if (substr(text, 1, 2) == "/*") {
            at = index(text, "*/")
            comment = words(substr(text, 1, at + 1))
            text = substr(text, at + 2)
            if (squeeze(code) != "") { # the last one of an enum: nothing separates it
                entry(kind, code, both(above, comment))
                code = above = ""
            } else if (fresh || count == 0)
                above = comment
            else
                pending_doc = both(pending_doc, comment)
            continue
        }
        start = substr(text, 1, 1)
        text = substr(text, 2)
        if (start == "\n" && squeeze(code) == "")
            fresh = 1
        if (start == separator) {
            entry(kind, code, above)
            code = above = ""
            fresh = 0
            count++
        } else
            code = code start
    }
    if (squeeze(code) != "")
        entry(kind, code, above)
    flush_entry()
}

# Kept until it is known that no comment follows.
function entry(kind, code, doc) {
    flush_entry()
    pending_kind = kind
    pending = squeeze(code)
    pending_doc = doc
}

function flush_entry(    name, value) {
    if (pending == "")
        return
    if (pending_kind == "member")
        print "member", pending, pending_doc
    else {
        name = value = pending
        sub(/ *=.*/, "", name)
        if (!sub(/^[^=]*= */, "", value))
            value = ""
        print "constant", name, value, pending_doc
    }
    pending = ""
}

# An enum that is made from a table: "#define X(name, value, ...) SEG_##name = value", TABLE(X)
function from_table(text,    prefix, table, n, rows, i, field, rest) {
    match(text, /[A-Z_]+_MAP\(X\)/) || refuse("the table of an enum")
    table = substr(text, RSTART, RLENGTH - 3)
    if (text !~ /#define X\(/ || !(table in rows_of))
        refuse("the table of an enum")
    match(text, /[A-Z]+_##/)
    prefix = substr(text, RSTART, RLENGTH - 2)
    n = split(rows_of[table], rows, "\n")
    for (i = 1; i <= n; i++) {
        if (!match(rows[i], /^[A-Z0-9_]+, [0-9]+, /))
            continue
        split(rows[i], field, ", ")
        rest = substr(rows[i], RLENGTH + 1)
        gsub(/"/, "", rest)
        sub(/^false, /, "", rest)
        if (sub(/^true, /, "", rest))
            rest = rest " (retriable)"
        print "constant", prefix field[1], field[2], rest
    }
}

# ---- Declarations --------------------------------------------------------------------------------

function without_comments(text,    at, rest) {
    while ((at = index(text, "/*")) > 0) {
        rest = substr(text, at + 2)
        if (index(rest, "*/") == 0)
            return substr(text, 1, at - 1) "\001" # still open
        text = substr(text, 1, at - 1) substr(rest, index(rest, "*/") + 2)
    }
    return text
}

function declare(text, above,    code, at, doc, behind, name, type, kind, inner) {
    code = without_comments(text)
    behind = ""
    if (match(text, /;[ \t]*\/\*([^*]|\*+[^*\/])*\*+\/[ \t\n]*$/)) {
        behind = words(squeeze_marks(substr(text, RSTART + 1)))
        text = substr(text, 1, RSTART)
    }
    doc = both(above, behind)
    if (text ~ /^typedef (struct|enum) [a-z0-9_]+ \{/) {
        match(text, /^typedef (struct|enum) [a-z0-9_]+/)
        split(substr(text, 1, RLENGTH), part, " ")
        kind = part[2]
        print kind, part[3], doc
        inner = substr(text, index(text, "{") + 1)
        match(inner, /\}[^}]*$/)
        inner = substr(inner, 1, RSTART - 1)
        if (inner ~ /#define/)
            from_table(inner)
        else
            body(kind == "struct" ? "member" : "constant", inner, kind == "struct" ? ";" : ",")
        return
    }
    code = squeeze(code)
    if (code ~ /^typedef struct [a-z0-9_]+ [a-z0-9_]+;$/) {
        split(code, part, " ")
        print "handle", part[3], doc
        return
    }
    if (!match(code, /seg_[a-z0-9_]+\(.*\);$/) || code !~ /^(SEG_API|typedef) /)
        refuse("\"" code "\"")
    name = substr(code, RSTART, RLENGTH)
    type = substr(code, 1, RSTART - 1)
    kind = type ~ /^SEG_API/ ? "function" : "callback"
    sub(/^(SEG_API|typedef) /, "", type)
    at = index(name, "(")
    print kind, substr(name, 1, at - 1), squeeze(type), arguments(substr(name, at + 1, length(name) - at - 2)), doc
}

function squeeze_marks(text) {
    sub(/^[ \t]+/, "", text)
    sub(/[ \t\n]+$/, "", text)
    return text
}

function define(text,    name, value, behind) {
    behind = ""
    if (match(text, /\/\*.*\*\/[ \t\n]*$/)) {
        behind = words(squeeze_marks(substr(text, RSTART)))
        text = substr(text, 1, RSTART - 1)
    }
    text = squeeze(text)
    sub(/^#define /, "", text)
    match(text, /^[A-Za-z_0-9]+(\([a-z_, ]*\))?/)
    name = substr(text, 1, RLENGTH)
    value = squeeze(substr(text, RLENGTH + 1))
    if (text ~ /^[A-Z_]+_MAP\(X\)/) {
        sub(/\(X\).*/, "", name)
        gsub(/\\/, "", text)
        gsub(/\) *X\(|\)$/, "\n", text)
        sub(/^[^\n]*\n/, "", text)
        rows_of[name] = text
        if (above != "")
            print "text", above # it is about the enum that follows
    } else if (value != "" && name != "SEG_API")
        print "define", name, value, both(above, behind)
    above = ""
}

# ---- Lines ---------------------------------------------------------------------------------------

function flush_text() {
    if (above != "")
        print "text", above
    above = ""
}

# A comment that is complete: an opening, a section, or the words above a declaration.
function comment_done(    title) {
    inside = 0
    if (comment ~ /^\/\* ---- /) {
        flush_text()
        title = comment
        sub(/^\/\* -+ /, "", title)
        sub(/ -+ *\*\/.*$/, "", title)
        print "section", title
    } else if (!opened) {
        print "file", name_of[FILENAME], included(name_of[FILENAME]), words(comment)
    } else {
        flush_text()
        above = words(comment)
    }
    opened = 1
}

function included(name) {
    return name == "segmenter.h" || (name in by_main) ? 1 : 0
}

FNR == 1 {
    flush_text()
    name_of[FILENAME] = FILENAME
    sub(/.*\//, "", name_of[FILENAME])
    if (!main_read && FILENAME ~ /\/segmenter\.h$/) { # first: which headers does it give?
        while ((getline line < FILENAME) > 0)
            if (line ~ /^#include <segmenter\//) {
                sub(/.*</, "", line)
                sub(/>.*/, "", line)
                sub(/.*\//, "", line)
                by_main[line] = 1
            }
        close(FILENAME)
        main_read = 1
    }
    opened = inside = 0
    gathered = ""
}

{ sub(/\r$/, "") }

gathered == "" && inside {
    comment = comment "\n" $0
    if ($0 ~ /\*\//)
        comment_done()
    next
}
gathered == "" && /^\/\*/ {
    comment = $0
    inside = 1
    if ($0 ~ /\*\//)
        comment_done()
    next
}
gathered == "" && continued {
    defined = defined "\n" $0
    if (!(continued = $0 ~ /\\$/))
        define(defined)
    next
}
gathered == "" && /^#define/ {
    defined = $0
    if (!(continued = $0 ~ /\\$/))
        define(defined)
    next
}
gathered == "" && (/^#/ || /^extern "C" \{$/ || /^\}$/) { next }
gathered == "" && /^[ \t]*$/ {
    flush_text()
    next
}
{
    gathered = gathered (gathered == "" ? "" : "\n") $0
    code = without_comments(gathered)
    if (code ~ /\001$/)
        next
    opening = code
    closing = code
    if (code ~ /;[ \t\n]*$/ && gsub(/\{/, "", opening) == gsub(/\}/, "", closing)) {
        declare(gathered, above)
        above = gathered = ""
    }
}
END {
    if (!failed)
        flush_text()
}
