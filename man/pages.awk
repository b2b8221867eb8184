# pages.awk - manual pages from the records of headers.awk, one for each section of the public headers, and
# libsegmenter.3, the opening words and the list of the others. Written into the directory `dir`;
# `date` is "November 29, 2026", `version` "0.1.0".
#
# A page is named after what its section is about: "seg_client" for "Client", where it declares such names;
# otherwise after the first noun of most of its names, or after the first of them. Sections of the same title are one page, of
# all headers. Each name that a page declares leads to it.

BEGIN {
    FS = "\t"
    WIDTH = 76
}

# ---- Reading: every section's records, and its name -----------------------------------------------

function open_section(title) {
    current = title
    if (!(title in titles)) {
        titles[title] = ++n_titles
        title_of[n_titles] = title
    }
    if (!((title, file) in files_of)) {
        files_of[title, file] = 1
        if (!known_header(title, header))
            headers[title] = headers[title] (headers[title] == "" ? "" : " ") header
    }
}

function known_header(title, header) {
    return index(" " headers[title] " ", " " header " ") > 0
}

function keep(record) {
    if (current == "")
        open_section(bare)
    records[current, ++count[current]] = record
}

function names(name,    noun) {
    sub(/\(.*/, "", name)
    page_names[current] = page_names[current] " " name
    noun = name
    if (noun ~ /^seg_/) {
        sub(/^seg_/, "", noun)
        sub(/_.*/, "", noun)
        if (!((current, noun) in nouns))
            noun_list[current] = noun_list[current] " " noun
        nouns[current, noun]++
    }
}

$1 == "file" {
    file = $2
    bare = file
    sub(/\.h$/, "", bare)
    bare = toupper(substr(bare, 1, 1)) substr(bare, 2)
    header = $3 ? "segmenter/segmenter.h" : "segmenter/" file
    essay[file] = $4
    essays[++n_essays] = file
    current = ""
    next
}
$1 == "section" {
    open_section($2)
    next
}
{ keep($0) }
$1 != "text" && $1 != "member" && $1 != "constant" { names($2) }

function page_name(title,    slug, list, n, i, best) {
    slug = tolower(title)
    gsub(/[^a-z0-9]+/, "_", slug)
    best = slug
    sub(/s$/, "", best)
    if ((title, best) in nouns)
        return "seg_" best
    if ((title, slug) in nouns)
        return "seg_" slug
    n = split(noun_list[title], list, " ")
    best = list[1]
    for (i = 2; i <= n; i++)
        if (nouns[title, list[i]] > nouns[title, best])
            best = list[i]
    return best == "" ? "seg_" slug : "seg_" best
}

# ---- Text: the comments' few forms as mdoc --------------------------------------------------------

function roff(text) {
    gsub(/\\/, "\\e", text)
    if (text ~ /^[.']/)
        text = "\\\\&" text
    gsub(/\\\\&/, "\\\\\\&", text)
    return text
}

# A quoted macro argument.
function quoted(text) {
    gsub(/\\/, "\\e", text)
    gsub(/"/, "\\(dq", text)
    return "\"" text "\""
}

# What a line counts: the formatter writes a character beyond ASCII, three bytes mostly, as \[uXXXX].
function measure(text,    beyond) {
    beyond = gsub(/[\300-\377]/, "&", text)
    return length(text) + 5 * beyond
}

# Filled text: a line for each sentence, none over WIDTH.
function fill(text,    n, word, i, line) {
    gsub(/`/, "", text)
    n = split(text, word, " ")
    line = ""
    for (i = 1; i <= n; i++) {
        if (word[i] ~ /^[a-zA-Z_]+\(\)[.,;:]?$/) { # a function's name
            if (line != "")
                print roff(line) > out
            sub(/\(\)/, " ", word[i])
            sub(/ $/, "", word[i])
            print ".Fn " word[i] > out
            line = ""
            continue
        }
        if (line != "" && measure(line) + 1 + measure(word[i]) > WIDTH) {
            print roff(line) > out
            line = ""
        }
        line = line (line == "" ? "" : " ") word[i]
        if (word[i] ~ /[.!?:;][")]*$/ && i < n && (word[i] !~ /[:;]$/)) {
            print roff(line) > out
            line = ""
        }
    }
    if (line != "")
        print roff(line) > out
}

function literal(from, to,    i, cut, text) {
    print ".Bd -literal" > out
    match(line[from], /^ */)
    cut = RLENGTH
    for (i = from; i <= to; i++) {
        match(line[i], /^ */)
        text = substr(line[i], (RLENGTH < cut ? RLENGTH : cut) + 1)
        print roff(text) > out
    }
    print ".Ed" > out
}

# A paragraph is plain, drawn (indented by four), or a list of "Word  text".
function prose(doc, begun,    n, i, j, text, listing) {
    n = split(doc, line, "\036")
    for (i = 1; i <= n; i = j) {
        for (; i <= n && line[i] ~ /^ *$/; i++)
            ;
        for (j = i; j <= n && line[j] !~ /^ *$/; j++)
            ;
        if (i > n)
            break
        if (line[i] ~ /^    /) {
            literal(i, j - 1)
            begun = 1
            continue
        }
        if (line[i] ~ /^[A-Z][a-z]+  +[^ ]/) {
            label_list(i, j)
            begun = 1
            continue
        }
        text = ""
        for (; i < j; i++)
            text = text " " line[i]
        if (begun)
            print ".Pp" > out
        fill(text)
        begun = 1
    }
}

function label_list(i, j,    text, label) {
    print ".Bl -tag -width Ownership" > out
    for (; i < j; i++) {
        if (line[i] ~ /^[A-Z][a-z]+  +[^ ]/) {
            if (text != "")
                fill(text)
            label = text = line[i]
            sub(/ .*/, "", label)
            sub(/^[A-Za-z]+ +/, "", text)
            print ".It Sy " label > out
        } else
            text = text " " line[i]
    }
    fill(text)
    print ".El" > out
}

# ---- A page ------------------------------------------------------------------------------------------

function head(name, list, what,    n, i, name_list) {
    out = dir "/" name ".3"
    printf ".\\\" Generated from the headers; do not edit.\n" > out
    printf ".Dd %s\n.Dt %s 3\n.Os Segmenter %s\n.Sh NAME\n", date, toupper(name), version > out
    n = split(list, name_list, " ")
    for (i = 1; i <= n; i++)
        printf ".Nm %s%s\n", name_list[i], i < n ? " ," : "" > out
    printf ".Nd %s\n.Sh LIBRARY\nThe Segmenter library (libsegmenter, \\-lsegmenter)\n", what > out
}

function prototype(record,    field, n, i, arg) {
    split(record, field, "\t")
    printf ".Ft %s\n", quoted((field[1] == "callback" ? "typedef " : "") field[3]) > out
    printf ".Fo %s\n", field[2] > out
    n = split(field[4], arg, "|")
    for (i = 1; i <= n; i++)
        printf ".Fa %s\n", quoted(arg[i]) > out
    print ".Fc" > out
}

function synopsis(title,    n, i, field, list) {
    print ".Sh SYNOPSIS" > out
    n = split(headers[title], list, " ")
    for (i = 1; i <= n; i++)
        if (list[i] == "segmenter/segmenter.h" || n == 1 || !known_header(title, "segmenter/segmenter.h"))
            print ".In " list[i] > out
    for (i = 1; i <= count[title]; i++) {
        split(records[title, i], field, "\t")
        if (field[1] == "handle")
            printf ".Vt typedef struct %s %s ;\n", field[2], field[2] > out
        else if (field[1] == "struct" || field[1] == "enum")
            printf ".Vt typedef %s %s { ... } %s ;\n", field[1], field[2], field[2] > out
        else if (field[1] == "define")
            printf ".Fd #define %s %s\n", field[2], field[3] > out
        else if (field[1] == "function" || field[1] == "callback")
            prototype(records[title, i])
    }
}

# The entries of a description; those of a struct or enum are a list of their own within.
function begin_list() {
    if (!listing)
        print ".Bl -tag -width Ds" > out
    listing = 1
}

function end_members() {
    if (in_members)
        print ".El" > out
    in_members = 0
}

function end_list() {
    end_members()
    if (listing)
        print ".El" > out
    listing = 0
}

function member(tag, doc, begun) {
    if (!in_members)
        print ".Pp\n.Bl -tag -width Ds -compact" > out
    in_members = 1
    print ".It " tag > out
    prose(doc, 0)
}

function description(title,    i, field, doc) {
    print ".Sh DESCRIPTION" > out
    listing = in_members = 0
    for (i = 1; i <= count[title]; i++) {
        split(records[title, i], field, "\t")
        if (field[1] == "text") {
            end_list()
            prose(field[2], i > 1)
        } else if (field[1] == "member")
            member("Vt " quoted(field[2]), field[3])
        else if (field[1] == "constant")
            member("Dv " field[2] (field[3] == "" ? "" : " No = " field[3]), field[4])
        else {
            end_members()
            begin_list()
            if (field[1] == "function" || field[1] == "callback") {
                print ".It Fn " field[2] > out
                prose(field[5], 0)
            } else if (field[1] == "define") {
                print ".It Dv " quoted(field[2]) > out
                prose(field[4], 0)
            } else {
                print ".It Vt " field[2] > out
                prose(field[3], 0)
            }
        }
    }
    end_list()
}

function see_also(self,    i, list, n) {
    print ".Sh SEE ALSO" > out
    n = 0
    if (self != "libsegmenter")
        list[++n] = "libsegmenter 3"
    for (i = 1; i <= n_titles; i++)
        if (sorted[i] != self)
            list[++n] = sorted[i] " 3"
    list[++n] = "segmenter-protocol 7"
    for (i = 1; i <= n; i++)
        printf ".Xr %s%s\n", list[i], i < n ? " ," : "" > out
}

function sort_names(    i, j, name) {
    for (i = 1; i <= n_titles; i++) {
        name = name_of[i]
        for (j = i - 1; j > 0 && sorted[j] > name; j--)
            sorted[j + 1] = sorted[j]
        sorted[j + 1] = name
    }
}

function overview(    i, doc, title) {
    head("libsegmenter", "libsegmenter", "partitioned streams and consumer groups on Redis or Valkey")
    print ".Sh SYNOPSIS\n.In segmenter/segmenter.h\n.Pp\n.Dl cc program.c $(pkg-config --cflags --libs segmenter)" > out
    print ".Sh DESCRIPTION" > out
    for (i = 1; i <= n_essays; i++) {
        if (i > 1)
            print ".Ss segmenter/" essays[i] > out
        doc = essay[essays[i]]
        sub(/^[a-z_]+\.h - [^\036]*\.\036\036/, "", doc)
        sub(/^[a-z_]+\.h - /, "", doc)
        doc = toupper(substr(doc, 1, 1)) substr(doc, 2)
        prose(doc, 0)
    }
    print ".Ss The pages\n.Bl -tag -width \"seg_consumer_pause(3)  \" -compact" > out
    for (i = 1; i <= n_titles; i++)
        printf ".It Xr %s 3\n%s\n", name_of[i], tolower(title_of[i]) > out
    print ".El" > out
    see_also("libsegmenter")
    close(out)
}

# The first function or type of a list that no page has as its name.
function first_free(list,    n, i, all) {
    n = split(list, all, " ")
    for (i = 1; i <= n; i++)
        if (all[i] ~ /^seg_/ && !(all[i] in is_page))
            return all[i]
    return ""
}

function others(name, list,    n, i, all, rest) {
    n = split(list, all, " ")
    for (i = 1; i <= n; i++)
        if (all[i] != name && index(" " rest " ", " " all[i] " ") == 0)
            rest = rest " " all[i]
    return rest
}

function alias(name, list,    n, i, all) {
    n = split(list, all, " ")
    for (i = 1; i <= n; i++) {
        if (all[i] in is_page)
            continue
        print name ".3", all[i] ".3" > (dir "/aliases")
    }
}

END {
    for (i = 1; i <= n_titles; i++) {
        name = page_name(title_of[i])
        if (name in is_page) {
            name = first_free(page_names[title_of[i]])
            if (name == "")
                name = "seg_section_" i # declares nothing of its own
        }
        name_of[i] = name
        is_page[name] = 1
    }
    sort_names()
    for (i = 1; i <= n_titles; i++) {
        title = title_of[i]
        rest = others(name_of[i], page_names[title])
        head(name_of[i], name_of[i] rest, "libsegmenter: " tolower(title))
        synopsis(title)
        description(title)
        see_also(name_of[i])
        close(out)
        alias(name_of[i], rest)
    }
    overview()
}
