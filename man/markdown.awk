# markdown.awk - a page of mdoc(7) from the Markdown that docs/ is written in: headings, paragraphs, lists of one
# level, tables, fenced and indented code, block quotes, `code`, **bold**, *italics* and [links](to). `name` and `what`
# are the page's, `date` is "November 29, 2026", `version` "0.1.0".

BEGIN {
    WIDTH = 76
    TABLE = 72 # columns that a table may take
    printf "'\\\" t\n.\\\" Generated from docs; do not edit.\n" # "t": it has tables, for tbl
    printf ".Dd %s\n.Dt %s 7\n.Os Segmenter %s\n", date, toupper(name), version
    printf ".Sh NAME\n.Nm %s\n.Nd %s\n.Sh DESCRIPTION\n", name, what
    after_heading = 1
}

# ---- Text -----------------------------------------------------------------------------------------

function roff(text) {
    gsub(/\\/, "\\e", text)
    return text
}

function guarded(text) { # at the beginning of a line
    return text ~ /^[.']/ ? "\\&" text : text
}

# Bytes that are characters of their own: the locale is C.
function width(text) {
    gsub(/\\f[A-Z]|\\&/, "", text)
    gsub(/\\e/, "x", text)
    gsub(/[\200-\277]/, "", text)
    return length(text)
}

# `code` is bold, as are ** and *; links are their text. What is code is looked for first, and is left alone.
function inline(text,    n, part, i, all) {
    bold = 0
    n = split(text, part, /`/)
    for (i = 1; i <= n; i++)
        all = all (i % 2 == 1 ? spans(part[i]) : i == n ? "`" spans(part[i]) : "\\fB" roff(part[i]) after_code())
    return all
}

function after_code() {
    return bold ? "" : "\\fR"
}

function spans(text,    inner) {
    text = roff(text)
    while (match(text, /\[[^\]]+\]\([^)]+\)/)) {
        inner = substr(text, RSTART + 1, index(substr(text, RSTART), "](") - 2)
        text = substr(text, 1, RSTART - 1) inner substr(text, RSTART + RLENGTH)
    }
    while (match(text, /\*\*/)) { # may hold code
        bold = !bold
        text = substr(text, 1, RSTART - 1) (bold ? "\\fB" : "\\fR") substr(text, RSTART + 2)
    }
    while (match(text, /\*[^* ][^*]*\*/))
        text = substr(text, 1, RSTART - 1) "\\fI" substr(text, RSTART + 1, RLENGTH - 2) "\\fR" \
            substr(text, RSTART + RLENGTH)
    return text
}

# What a line counts: the formatter writes a character beyond ASCII, three bytes mostly, as \[uXXXX].
function measure(text,    beyond) {
    beyond = gsub(/[\300-\377]/, "&", text)
    return length(text) + 5 * beyond
}

# A sentence ends its line, none is over WIDTH.
function fill(text,    n, word, i, line, bare) {
    n = split(inline(text), word, " ")
    line = ""
    for (i = 1; i <= n; i++) {
        if (line != "" && measure(line) + 1 + measure(word[i]) > WIDTH) {
            print guarded(line)
            line = ""
        }
        line = line (line == "" ? "" : " ") word[i]
        bare = word[i]
        gsub(/\\f[A-Z]/, "", bare)
        if (bare ~ /[.!?][")]*$/) {
            print guarded(line)
            line = ""
        }
    }
    if (line != "")
        print guarded(line)
}

# ---- Blocks: each is gathered, and printed when the next one begins ----------------------------

function flush() {
    if (block == "paragraph") {
        if (!after_heading)
            print ".Pp"
        fill(gathered)
        after_heading = 0
    } else if (block == "item") {
        print ".It"
        fill(gathered)
    } else if (block == "table")
        table()
    block = gathered = ""
}

function end_list() {
    flush()
    if (list != "")
        print ".El"
    list = ""
}

function begin_list(kind) {
    if (list == kind)
        return
    if (list != "")
        print ".El"
    else if (!after_heading)
        print ".Pp" # the list itself is compact
    print ".Bl -" kind " -compact" (kind == "enum" ? " -width 3n" : " -width 2n")
    list = kind
    after_heading = 0
}

function verbatim(text) {
    print guarded(roff(text))
}

# Cells are split at "|", but not at "\|".
function cells(row, cell,    n, i) {
    gsub(/\\\|/, "\001", row)
    sub(/^ *\| */, "", row)
    sub(/ *\| *$/, "", row)
    n = split(row, cell, / *\| */)
    for (i = 1; i <= n; i++) {
        gsub(/\001/, "|", cell[i])
        cell[i] = inline(cell[i])
    }
    return n
}

# Columns are as wide as their longest cell, while all fit; otherwise the wide ones share what the narrow ones leave.
function column_widths(    room, wide, share, i, again) {
    room = TABLE - 3 * (columns - 1) # and what is between them
    wide = columns
    for (i = 1; i <= columns; i++)
        given[i] = 0
    do {
        again = 0
        share = int(room / (wide > 0 ? wide : 1))
        for (i = 1; i <= columns; i++)
            if (!given[i] && longest[i] <= share) {
                given[i] = longest[i] > 0 ? longest[i] : 1
                room -= given[i]
                wide--
                again = 1
            }
    } while (again && wide > 0)
    for (i = 1; i <= columns; i++)
        if (!given[i])
            given[i] = share > 8 ? share : 8
}

function table(    n, row, i, j, cell, count, kept, format) {
    n = split(gathered, row, "\n")
    columns = 0
    delete longest
    for (i = 1; i <= n; i++) {
        if (row[i] ~ /^[|: -]+$/)
            continue # the line under the header, or an empty header
        count = cells(row[i], cell)
        kept++
        if (count > columns)
            columns = count
        for (j = 1; j <= count; j++) {
            cell_of[kept, j] = cell[j]
            if (width(cell[j]) > longest[j])
                longest[j] = width(cell[j])
        }
        for (; j <= 20; j++)
            cell_of[kept, j] = ""
    }
    column_widths()
    if (!after_heading)
        print ".Pp"
    print ".TS"
    format = ""
    for (j = 1; j <= columns; j++)
        format = format (j > 1 ? " " : "") "lw(" given[j] "n)"
    print format "."
    for (i = 1; i <= kept; i++)
        print_row(i, row[1] !~ /^[| ]+$/ && i == 1)
    print ".TE"
    after_heading = 0
}

function print_row(i, header,    j, text, all) {
    all = ""
    for (j = 1; j <= columns; j++) {
        text = cell_of[i, j]
        if (header && text != "")
            text = "\\fB" text "\\fR"
        if (j > 1)
            all = all "\t"
        if (width(text) > given[j]) {
            all = all "T{\n"
            printf "%s", all
            fill_cell(text)
            all = "T}"
        } else
            all = all (all == "" ? guarded(text) : text)
    }
    print all
    if (header)
        print "_"
}

function fill_cell(text,    n, word, i, line) {
    n = split(text, word, " ")
    line = ""
    for (i = 1; i <= n; i++) {
        if (line != "" && measure(line) + 1 + measure(word[i]) > WIDTH) {
            print guarded(line)
            line = ""
        }
        line = line (line == "" ? "" : " ") word[i]
    }
    print guarded(line)
}

# ---- Lines ------------------------------------------------------------------------------------------

fenced && /^ *```/ {
    print ".Ed"
    fenced = 0
    next
}
fenced {
    verbatim($0)
    next
}
/^ *```/ {
    flush()
    if (list == "" || $0 !~ /^ /)
        end_list()
    print ".Bd -literal -offset 2n"
    fenced = 1
    after_heading = 0
    next
}
/^<!--.*-->$/ { next }
/^# / { next } # the title is the page's name
/^#+ / {
    end_list()
    level = index($0, " ") - 1
    text = substr($0, level + 2)
    gsub(/`/, "", text)
    print (level == 2 ? ".Sh " toupper(roff(text)) : ".Ss " roff(text))
    after_heading = 1
    next
}
/^[ \t]*$/ {
    was_blank = 1
    flush()
    next
}
/^\|/ {
    if (block != "table") {
        end_list()
        block = "table"
        gathered = $0
    } else
        gathered = gathered "\n" $0
    was_blank = 0
    next
}
/^(-|\*|[0-9]+\.) / {
    flush()
    begin_list($0 ~ /^[0-9]/ ? "enum" : "bullet")
    block = "item"
    gathered = $0
    sub(/^[^ ]+ +/, "", gathered)
    was_blank = 0
    next
}
/^    / && list == "" && block == "" {
    flush()
    print ".Bd -literal -offset 2n"
    verbatim(substr($0, 5))
    while ((more = getline) > 0 && $0 ~ /^    /)
        verbatim(substr($0, 5))
    print ".Ed"
    after_heading = 0
    next # the line that ended it is blank
}
{
    text = $0
    sub(/^>? +/, "", text)
    sub(/^> ?/, "", text)
    if (list != "" && was_blank && $0 !~ /^ /)
        end_list()
    if (block == "") {
        block = list != "" ? "more" : "paragraph"
        if (block == "more") {
            print ".Pp"
            block = "paragraph"
            after_heading = 1
        }
    }
    gathered = gathered (gathered == "" ? "" : " ") text
    was_blank = 0
}
END {
    end_list()
    printf ".Sh SEE ALSO\n.Xr libsegmenter 3\n"
}
