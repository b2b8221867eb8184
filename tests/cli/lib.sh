# lib.sh - what the cases are written with. Read by `run`, inside the process of one case.

golden_dir=$here/golden
children=

segmenter() {
    "$SEGMENTER" "$@"
}

fail() {
    echo "$*"
    for stream in out err; do
        [ ! -s "$stream" ] || { echo "std$stream was:"; head -n 20 "$stream"; }
    done
    exit 1
}

# expect CODE COMMAND...: run it with its output in the files out and err, and check its exit code.
expect() {
    wanted=$1
    shift
    "$@" >out 2>err
    got=$?
    [ $got -eq "$wanted" ] || fail "exit code $got, expected $wanted: $*"
}

# has FILE PATTERN: an extended regular expression that a line of the file matches.
has() {
    grep -Eq -- "$2" "$1" || fail "'$2' matches nothing in $1: $(head -n 5 "$1")"
}

lacks() {
    ! grep -Eq -- "$2" "$1" || fail "'$2' matches in $1: $(grep -E -- "$2" "$1" | head -n 5)"
}

same() {
    diff -u "$1" "$2" >difference || fail "$1 and $2 differ:
$(head -n 40 difference)"
}

# golden NAME FILE: what the file should hold is in golden/NAME.
golden() {
    if [ "${GOLDEN-}" = write ]; then
        cp "$2" "$golden_dir/$1"
    else
        same "$golden_dir/$1" "$2"
    fi
}

# eventually SECONDS COMMAND...: wait until the command succeeds.
eventually() {
    patience=$(($1 * 20))
    shift
    until "$@"; do
        patience=$((patience - 1))
        [ $patience -gt 0 ] || fail "never came true: $*"
        sleep 0.05
    done
}

# start FILE ARGS...: the command in the background, with its output in FILE and FILE.err, its pid in
# $child. SIGINT works in it, though a shell without job control starts its background processes with
# SIGINT ignored. A case's descriptor 9, its end of a fifo, stays its own.
start() {
    file=$1
    shift
    : >"$file"
    env --default-signal=INT,QUIT "$SEGMENTER" "$@" >"$file" 2>"$file.err" 9>&- &
    child=$!
    children="$children $child"
}

# ended PID CODE: wait for a process of start() and check its exit code.
ended() {
    wait "$1"
    got=$?
    [ $got -eq "$2" ] || fail "process $1 ended with $got, expected $2"
}

is_alive() {
    kill -0 "$1" 2>/dev/null
}

# lines FILE COUNT: it has at least that many lines.
lines() {
    [ "$(wc -l <"$1")" -ge "$2" ]
}

# lag STREAM GROUP
lag() {
    segmenter group describe "$2" -s "$1" --window 0 --json | sed 's/.*"lag":\([0-9]*\),"members":.*/\1/'
}

has_lag() {
    [ "$(lag "$1" "$2")" = "$3" ]
}

# messages STREAM: how many it keeps.
messages() {
    segmenter stream info "$1" --json | sed 's/.*"messages":\([0-9]*\),"created_ms".*/\1/'
}

has_messages() {
    [ "$(messages "$1")" = "$2" ]
}

# is_stuck STREAM: it holds something, and nothing was added while we looked ten times.
is_stuck() {
    before=$(messages "$1")
    [ "$before" -gt 0 ] || return 1
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ "$(messages "$1")" = "$before" ] || return 1
    done
}

# owns STREAM GROUP MEMBER: it owns a partition.
owns() {
    segmenter group describe "$2" -s "$1" --window 0 --json | grep -q "\"owner\":\"$3\""
}

owns_nothing() {
    ! owns "$@"
}

members() {
    segmenter group describe "$2" -s "$1" --window 0 --json | grep -o '"id":' | wc -l
}

has_members() {
    [ "$(members "$1" "$2")" -eq "$3" ]
}

end_children() {
    for pid in $children; do
        kill -CONT "$pid" 2>/dev/null
        kill -KILL "$pid" 2>/dev/null
    done
}

run_case() {
    trap end_children EXIT
    command -v "case_$1" >/dev/null || fail "there is no case $1"
    "case_$1"
    exit 0
}
