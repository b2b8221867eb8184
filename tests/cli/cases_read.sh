# cases_read.sh - the cases about reading without a group, and about dumps. They are written like those in
# cases.sh.

# lasting FILE: without what differs from run to run.
lasting() {
    sed -E -e 's/20[0-9-]+T[0-9:]+Z/TIME                /g' -e 's/"(ts|dumped|created)_ms":[0-9]+/"\1_ms":TIME/g' \
        -e 's/"server":"[^"]*"/"server":"SERVER"/; s/"tool":"[^"]*"/"tool":"TOOL"/; s/"xxh64":"[0-9a-f]{16}"/"xxh64":"SUM"/g' -e 's/ +$//' "$1"
}

# exactly TEXT: out is that line.
exactly() {
    [ "$(cat out)" = "$1" ] || fail "expected '$1'"
}

# shown ARGS...: append the command line, what it writes and its exit code to shown.txt.
shown() {
    segmenter "$@" >out 2>err
    code=$?
    { printf '$ segmenter %s\n' "$*"; lasting out; cat err; echo "exit $code"; } >>shown.txt
}

three_orders() {
    expect 0 segmenter stream create "$1" -p 2
    printf 'ann:tea\neve:milk\nann:sugar\n' | expect 0 segmenter produce "$1" -K : -H from=web
}

# ---- tail, get, grep -------------------------------------------------------------------------------

case_tail() {
    three_orders orders
    expect 0 segmenter stream create none -p 2
    shown tail orders
    shown tail orders -J
    shown tail orders -n 1 -f '%p:%o %k=%v %h\n'
    shown tail orders -n 0
    shown tail orders --key ann
    shown tail orders --key bob
    shown tail orders --partition 1
    shown tail orders --partition 2
    shown tail orders -o earliest -n 2 -f '%v\n'
    shown tail orders -o -1 -f '%v\n'
    shown tail orders -o 1 -f '%v\n'
    shown tail orders -o @1 -f '%v\n'
    shown tail orders -o +1
    shown tail orders -f '%v' -J
    shown tail orders -n -1
    shown tail none
    golden tail.txt shown.txt
    expect 3 segmenter tail missing
    expect 3 segmenter tail missing --key a
    expect 5 segmenter -u unix:///nowhere/redis.sock tail orders
    expect 5 segmenter -u unix:///nowhere/redis.sock tail orders -J
    has err '^\{"error":\{"code":"ECONN"'
    expect 0 segmenter group ls --json
    [ ! -s out ] || fail "reading made a group"
}

# By time over all partitions, and what a terminal must not be told.
case_tail_order() {
    expect 0 segmenter stream create orders -p 4
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
        echo "{\"key\":\"k$((i % 4))\",\"value\":\"v$i\",\"ts_ms\":$((1000 * i))}"
    done | expect 0 segmenter produce orders -J
    expect 0 segmenter tail orders -n 5 -f '%v\n'
    exactly "v8
v9
v10
v11
v12"
    expect 0 segmenter tail orders --key k1 -n 2 -f '%v\n'
    exactly "v5
v9"
    printf '{"key":"\\u001b[2J","value_b64":"/0EA"}\n' | expect 0 segmenter produce orders -J
    expect 0 segmenter tail orders -n 1
    has out '  \?\[2J  \?A\?$'
}

# A key's messages may lie behind thousands of others.
case_tail_key() {
    expect 0 segmenter stream create orders -p 1
    { echo 'rare:1'; seq -f 'often:%g' 1 3000; echo 'rare:2'; seq -f 'often:%g' 1 1500; } |
        expect 0 segmenter produce orders -K :
    expect 0 segmenter tail orders --key rare -f '%v '
    exactly "1 2 "
    expect 0 segmenter tail orders --key rare -n 1 -f '%v '
    exactly "2 "
}

case_tail_follow() {
    expect 0 segmenter stream create orders -p 2
    echo before | expect 0 segmenter produce orders
    start seen tail orders -F -f '%v\n'
    eventually 20 holds_line seen before
    echo after | expect 0 segmenter produce orders
    eventually 20 holds_line seen after
    kill -INT "$child"
    ended "$child" 0
    start some tail orders -F -o latest -n 2 -f '%v\n'
    tailing=$child
    eventually 20 some_arrive orders some 2
    ended "$tailing" 0
    [ "$(wc -l <some)" -eq 2 ] || fail "$(wc -l <some) lines, not 2"
    start gone tail orders -F
    eventually 20 lines gone 2
    expect 0 segmenter stream rm orders --yes
    ended "$child" 3
}

holds_line() {
    grep -qx "$2" "$1"
}

# What is sent before it follows is none of its.
some_arrive() {
    echo x | segmenter produce "$1" && lines "$2" "$3"
}

case_get() {
    three_orders orders
    p=$(segmenter tail orders -J | sed -n 's/.*"partition":\([01]\).*"value":"sugar".*/\1/p')
    shown get orders "$p" 0
    shown get orders "$p" 0 -n 9 -f '%v\n'
    shown get orders "$p" 1 -J
    shown get orders "$p" 2
    shown get orders 7 0
    shown get orders one 0
    shown get orders 0 -1
    shown get orders 0
    golden get.txt shown.txt
    expect 3 segmenter get missing 0 0
    expect 5 segmenter -u unix:///nowhere/redis.sock get orders 0 0
    expect 0 segmenter stream create ring -p 1 --size 100 --on-full drop-oldest
    seq 1 5000 | expect 0 segmenter produce ring
    expect 3 segmenter get ring 0 0
    has err 'offset 0 of partition 0 was dropped from the stream: the oldest that it keeps is [0-9]+$'
}

case_grep() {
    three_orders orders
    printf '{"key":"bin","value":"one\\u0000two","headers":[["trace","abc"],["trace","def"]]}\n' |
        expect 0 segmenter produce orders -J
    shown grep orders 'SUGAR|milk'
    shown grep orders 'SUGAR|milk' -i -f '%v\n'
    shown grep orders ann -c
    shown grep orders ann --value -c
    shown grep orders '^ann$' --key -v -f '%k\n'
    shown grep orders '^one[^x]two$' -f '%V\n'
    shown grep orders '^def$' --header trace -J
    shown grep orders . --header none
    shown grep orders a -m 1 -c
    shown grep orders . --scan 2 -c
    shown grep orders . --to 1 -c
    shown grep orders . --from -1 -c
    shown grep orders . --from @1 --to @2 -c
    shown grep orders . --to +1
    shown grep orders '('
    shown grep orders . -c -J
    golden grep.txt shown.txt
    expect 3 segmenter grep missing x
    expect 5 segmenter -u unix:///nowhere/redis.sock grep orders x
}

# One signal is enough, however long the pattern takes.
case_grep_endless() {
    expect 0 segmenter stream create orders -p 1
    { echo short; head -c 20000 /dev/zero | tr '\0' a; echo; } | expect 0 segmenter produce orders
    start found grep orders '(a*)(a*)(a*)(a*)\1\2\3\4b|short' -f '%v\n' --value
    eventually 20 is_busy "$child"
    kill -INT "$child"
    ended "$child" 1
    has found.err 'interrupted while one message was searched, partition 0 offset 1: '
    has found '^short$'
}

# It has used CPU time enough to be in the search: reading two messages takes none.
is_busy() {
    [ "$(awk '{ print $14 }' "/proc/$1/stat")" -ge 50 ]
}

# So it is where the search waits for somebody who does not read.
case_grep_blocked() {
    expect 0 segmenter stream create orders -p 1
    seq 1 20000 | sed 's/.*/a message with some text that fills a pipe &/' | expect 0 segmenter produce orders
    mkfifo pipe
    exec 8<>pipe
    for options in -J '-f %v\n'; do
        # It has begun once --trace tells of the connection; before, a signal would just end it.
        : >blocked.err
        env --default-signal=INT "$SEGMENTER" grep --trace orders . "$options" >pipe 2>blocked.err 9>&- 8>&- &
        child=$!
        children="$children $child"
        eventually 30 grep -q XREAD blocked.err
        eventually 30 has_filled_pipe "$child"
        kill -INT "$child"
        ended "$child" 1
        has blocked.err 'interrupted'
        lacks blocked.err 'the pattern takes too long'
        exec 8<&-
        exec 8<>pipe
    done
    exec 8<&-
    # Why a write failed is told, also where it was another thread's.
    for json in '' -J; do
        segmenter grep orders . $json >/dev/full 2>err
        [ $? -eq 1 ] || fail "a full disk is not told"
        has err 'cannot write the output: No space left on device'
    done
    has err '^\{"error":\{"code":"failure","message":"cannot write the output: No space left on device"'
    segmenter stream ls --json >/dev/full 2>err
    has err '^\{"error":\{"code":"failure","message":"cannot write the output: No space left on device"'
}

# has_filled_pipe PID: it wrote as much as a pipe holds.
# It wrote what fills a pipe, and writes no more.
has_filled_pipe() {
    written=$(sed -n 's/^wchar: //p' "/proc/$1/io")
    [ "$written" -ge 61440 ] || return 1
    for _ in 1 2 3 4 5 6 7 8; do
        sleep 0.05
        [ "$(sed -n 's/^wchar: //p' "/proc/$1/io")" = "$written" ] || return 1
    done
}

# ---- dump and load ---------------------------------------------------------------------------------

# The lines of a dump's messages, without the stream's name.
messages_of() {
    grep -v '"dump":' "$1" | sed 's/"stream":"[^"]*",//'
}

sums_of() {
    tail -n 1 "$1" | sed 's/"xxh64":"[0-9a-f]*",//'
}

# A dump that nobody wrote, with everything that a message can be. It has no end: --force loads it.
odd_dump() { # PARTITIONS
    printf '{"v":1,"dump":"begin","stream":"odd","namespace":"n","server":"s","tool":"t","dumped_ms":1,"created_ms":1,"partition_count":%s,"max_messages":1000,"on_full":"reject","partitions":[' "$1"
    awk -v n="$1" 'BEGIN { for (p = 0; p < n; p++) printf "%s{\"partition\":%d,\"era\":1,\"first\":0,\"next\":9}", p ? "," : "", p; print "]}" }'
    p=0
    while [ $p -lt "$1" ]; do
        o=0
        for rest in '"ts_ms":0,"key":"","value":"","headers":[]' \
            '"ts_ms":-1,"key":"a","value":"before 1970","headers":[]' \
            '"ts_ms":-9223372036854775808,"key":"","value":"the first","headers":[]' \
            '"ts_ms":9223372036854775807,"key":"z","value":"the last","headers":[["",""]]' \
            '"ts_ms":5,"key_b64":"/w==","value_b64":"gAD/","headers":[["n",{"b64":"/g=="}],[{"b64":"/Q=="},"v"]]' \
            '"ts_ms":4,"key":"\u0000\n\"\\","value":"\u0001é漢😀\t","headers":[["n","1"],["n","2"]]'; do
            printf '{"v":1,"stream":"odd","partition":%s,"era":1,"offset":%s,%s}\n' $p $o "$rest"
            o=$((o + 1))
        done
        p=$((p + 1))
    done
}

case_dump() {
    three_orders orders
    expect 0 segmenter dump orders
    lasting out >dump.txt
    golden dump.txt dump.txt
    shown dump orders file
    expect 0 segmenter dump orders same
    messages_of file >one
    messages_of same >two
    same one two
    shown dump orders file
    shown dump orders file --resume
    shown dump orders file --force
    shown dump orders file --force --resume
    shown dump orders --resume
    shown dump orders /dev/null --force
    shown dump orders limited --limit 2
    shown dump orders limited
    shown dump missing other
    shown load --check file
    shown load --check limited.part
    shown load copy file
    shown load copy file
    shown load copy file --append
    shown load other file --no-create
    shown load 'no good' file
    shown load copy file --resume --append
    shown load --check file more
    shown load --check no-such-file
    golden dump_load.txt shown.txt
    [ ! -e other ] && [ ! -e other.part ] || fail "a stream that is not there left a file"
    expect 5 segmenter -u unix:///nowhere/redis.sock dump orders x
    expect 5 segmenter -u unix:///nowhere/redis.sock load copy file
    expect 0 segmenter stream create from_dump -p 2
    expect 0 segmenter produce from_dump -J file -v
    has err '"message":"3 messages stored, '
}

# All of a message comes through, and its place in its partition.
case_dump_round_trip() {
    for n in 1 7; do
        odd_dump $n >odd
        expect 1 segmenter load "odd$n" odd
        has err 'ends before its dump does.*--force loads what there is$'
        expect 0 segmenter load "odd$n" odd --force -v
        has err "$((6 * n)) messages loaded, and verified"
        expect 0 segmenter dump "odd$n" "d$n"
        messages_of odd >wanted
        messages_of "d$n" >got
        same wanted got
        has "d$n" '"on_full":"reject"'
        expect 0 segmenter dump "odd$n" "d$n.zst"
        expect 0 segmenter load --check "d$n.zst"
        expect 0 segmenter load "copy$n" "d$n.zst"
        expect 0 segmenter dump "copy$n" "e$n"
        [ "$(sums_of "d$n")" = "$(sums_of "e$n")" ] || fail "the copy's checksums differ"
        expect 0 sh -c "\"\$SEGMENTER\" dump odd$n --zstd | \"\$SEGMENTER\" load piped$n -"
        expect 0 segmenter dump "piped$n" "f$n"
        [ "$(sums_of "d$n")" = "$(sums_of "f$n")" ] || fail "the piped copy's checksums differ"
    done
    expect 0 segmenter stream create keyed -p 3
    expect 4 segmenter load keyed d7
    expect 0 segmenter load keyed d7 --repartition -v
    has err '42 messages loaded, and verified'
}

# Cut anywhere, a dump is continued, and is in the end what it would have been.
case_dump_resume() {
    expect 0 segmenter stream create orders -p 3
    seq 1 40 | sed 's/.*/k&:v&/' | expect 0 segmenter produce orders -K :
    expect 0 segmenter dump orders whole
    size=$(wc -c <whole)
    step=$((size / 60))
    awk '{ at += length($0) + 1; print at - 1; print at; print at + 1 }' whole >cuts
    seq 0 $step "$size" >>cuts
    while read -r cut; do
        [ "$cut" -le "$size" ] || continue
        head -c "$cut" whole >again.part
        "$SEGMENTER" dump orders again --resume 2>err || fail "cut at $cut: $(cat err)"
        if [ "$cut" -ge "$(head -n 1 whole | wc -c)" ]; then
            cmp whole again || fail "cut at $cut it is another"
        else
            messages_of whole >one
            messages_of again >two
            same one two
        fi
        rm again
    done <cuts
    # Once more, in many small runs. What has come to the stream since it began is no part of it.
    expect 1 segmenter dump orders small.zst --limit 1
    echo late | expect 0 segmenter produce orders
    runs=0
    until segmenter dump orders small.zst --resume --limit 7 2>err; do
        runs=$((runs + 1))
        [ $runs -lt 20 ] || fail "it never ends"
    done
    expect 0 segmenter load --check small.zst
    has out ' is whole: 40 messages of stream orders, 3 partitions$'
    zstd_bytes=$(wc -c <small.zst)
    for cut in 1 2 3 4 5 $(seq 0 41 "$((zstd_bytes - 1))") $(seq "$((zstd_bytes - 9))" "$((zstd_bytes - 1))"); do
        head -c "$cut" small.zst >other.zst.part
        "$SEGMENTER" dump orders other.zst --resume 2>err || fail "zst cut at $cut: $(cat err)"
        expect 0 segmenter load --check other.zst
        rm other.zst
    done
    head -c "$((zstd_bytes - 1))" small.zst >cut.zst
    expect 1 segmenter load --check cut.zst
    has err 'the file ends before its dump does'
    # One that replaces another is continued as well, and replaces it then; but nothing that is newer.
    echo old >replaced
    expect 1 segmenter dump orders replaced --force --limit 5
    has err '; --resume continues it$'
    has replaced '^old$'
    expect 1 segmenter dump orders replaced --resume --limit 5
    expect 0 segmenter dump orders replaced --resume
    expect 0 segmenter load --check replaced
    [ ! -e replaced.part ] || fail "its part is left"
    expect 1 segmenter dump orders newer --limit 5
    touch -d '+1 hour' newer
    expect 4 segmenter dump orders newer --resume
    has err "'newer' is newer than the dump that was interrupted, 'newer.part': --force starts anew"
    # What is not ours is left as it is.
    echo 'important' >other.part
    expect 1 segmenter dump orders other --resume
    printf 'important' >other.part
    expect 4 segmenter dump orders other --resume
    has other.part '^important$'
    head -n 9 whole >other.part
    expect 0 segmenter stream rm orders --yes
    expect 0 segmenter stream create orders -p 3
    expect 4 segmenter dump orders other --resume
    has err 'is a dump of another stream'
    expect 4 segmenter dump orders other
    has err '^segmenter dump: .other.part. is there from a dump that was interrupted: '
}

# What a dump could not read is said, noted in it, and no other message is missing; so it is after a cut.
case_dump_dropped() {
    expect 0 segmenter stream create ring -p 2 --size 100 --on-full drop-oldest
    seq 1 150 | sed 's/.*/k&:v&/' | expect 0 segmenter produce ring -K :
    expect 1 segmenter dump ring cut --limit 10
    cp cut.part early.part
    for i in 1 2 3 4 5 6; do
        seq 1 1000 | sed "s/.*/k&:w$i.&/"
    done | expect 0 segmenter produce ring -K :
    expect 1 segmenter dump ring cut --resume
    has err '^segmenter dump: partition 1, offset 0 to [0-9]+: dropped to keep the stream.s bound '
    has err 'the dump is complete, but for [0-9]+ messages that could not be read: 10 are in it$'
    [ "$(grep -c '"dump":"skip"' cut)" -eq 2 ] || fail "not two skips: $(grep skip cut)"
    total=$(head -n 1 cut | grep -o '"next":[0-9]*' | awk -F : '{ n += $2 } END { print n }')
    has cut "\"dump\":\"end\",\"messages\":10,\"skipped\":$((total - 10)),"
    expect 0 segmenter load --check cut
    has err "the dump lacks $((total - 10)) messages"
    expect 0 segmenter load copy cut -v
    has err ' 10 messages loaded, and verified'
    # Cut behind the skip, it is not told twice.
    head -n 12 cut >early.part
    has early.part '"dump":"skip"'
    expect 1 segmenter dump ring early --resume
    same cut early
}

# An entry that somebody takes out of the log.
case_read_damaged() {
    expect 0 segmenter stream create orders -p 1
    for i in 1 2 3; do
        echo "v$i" | expect 0 segmenter produce orders
    done
    tool=$(command -v redis-cli || command -v valkey-cli) || fail "no redis-cli and no valkey-cli"
    expect 0 "$tool" -s "${SEGMENTER_URL#unix://}" XDEL "sg:{$SEGMENTER_NAMESPACE/orders/0}:log" 1-1
    has out '^1$'
    shown get orders 0 1
    shown get orders 0 0 -n 3 -f '%v\n'
    shown tail orders -f '%v\n'
    shown grep orders v -c
    shown dump orders file
    shown load --check file
    golden read_damaged.txt shown.txt
    has file '"dump":"skip","partition":0,"era":1,"first":1,"count":1,"why":"missing"'
}

# A partition that is damaged hides only itself.
case_read_part() {
    expect 0 segmenter stream create orders -p 3
    seq 1 9 | sed 's/.*/k&:v&/' | expect 0 segmenter produce orders -K :
    expect 0 segmenter dump orders whole
    tool=$(command -v redis-cli || command -v valkey-cli) || fail "no redis-cli and no valkey-cli"
    expect 0 "$tool" -s "${SEGMENTER_URL#unix://}" DEL "sg:{$SEGMENTER_NAMESPACE/orders/1}:state"
    has out '^1$'
    shown tail orders
    shown grep orders v
    shown get orders 1 0
    shown dump orders part
    shown tail orders --partition 7
    shown grep orders v --partition 7
    shown dump orders part --partition 7
    shown get orders 7 0
    shown group seek g -s orders --to start --partition 7
    shown tail orders -f -n 3
    shown dump orders part --partition 0 --partition 0
    shown dump orders part --partition 2 --partition 0
    shown dump orders part --partition 2 --resume
    shown dump orders part --partition 0 --partition 2 --resume
    shown dump orders two --partition 2
    shown load --check part
    shown load copy two
    shown load copy two
    shown dump orders zero --partition 0
    shown load copy zero
    shown load copy zero --resume
    shown load orders two
    for p in 0 2; do
        messages_of whole | grep "\"partition\":$p," >wanted
        for file in part copied; do
            [ -e copied ] || expect 0 segmenter dump copy copied
            messages_of $file | grep "\"partition\":$p," >got
            same wanted got
        done
    done
    # Cut anywhere, it is continued as a whole one is.
    awk '{ at += length($0) + 1; print at - 1; print at }' part >cuts
    while read -r cut; do
        head -c "$cut" part >again.part
        expect 0 segmenter dump orders again --partition 0 --partition 2 --resume
        messages_of part >wanted
        messages_of again >got
        same wanted got
        rm again
    done <cuts
    head -n 3 part >again.part
    expect 4 segmenter dump orders again --partition 0 --resume
    # A line that is none of its partitions'.
    sed 's/"partition":2,"era":1,"offset"/"partition":1,"era":1,"offset"/' part >odd
    expect 1 segmenter load --check odd
    # The doctor names the command that saves what there is.
    expect 1 segmenter doctor --columns advice --csv
    has out "segmenter dump orders FILE -N $SEGMENTER_NAMESPACE --partition 0 --partition 2"
    shown load orders two --append
    golden read_part.txt shown.txt
}

# Loaded up to any message, it goes on behind that, exactly once.
case_load_resume() {
    expect 0 segmenter stream create orders -p 3
    seq 1 12 | sed 's/.*/k&:v&/' | expect 0 segmenter produce orders -K :
    expect 0 segmenter dump orders whole
    n=1
    while [ $n -le 13 ]; do
        head -n $n whole >part
        expect 0 segmenter load "copy$n" part --force
        expect 0 segmenter load "copy$n" whole --resume
        expect 0 segmenter load "copy$n" whole --resume -v
        has err ' 0 messages loaded'
        expect 0 segmenter dump "copy$n" "d$n"
        [ "$(sums_of whole)" = "$(sums_of "d$n")" ] || fail "after $n lines it is another"
        n=$((n + 1))
    done
    # Anything else in it is a refusal that names the place.
    head -n 3 whole >part
    expect 0 segmenter load mixed part --force
    before=$(messages mixed)
    printf '{"key":"k1","value":"other"}\n' | expect 0 segmenter produce mixed -J
    expect 4 segmenter load mixed whole --resume
    has err 'cannot resume: partition [0-2], offset [0-9]+ of stream .mixed. is '
    has_messages mixed $((before + 1)) || fail "a refused load has sent something"
    expect 2 segmenter load mixed - --resume
}

# A load that is killed when it has come so far, and again, goes on in the end.
case_load_killed() {
    expect 0 segmenter stream create orders -p 5 --size 200000
    total=${MESSAGES:-60000}
    seq 1 "$total" | sed 's/.*/k&:v&/' | expect 0 segmenter produce orders -K :
    expect 0 segmenter dump orders whole
    for after in 1 $((total / 12)) $((total / 3)) $((total * 2 / 3)); do
        start log load copy whole --resume
        loading=$child
        eventually 60 reaches copy $after "$loading"
        kill -KILL "$loading" 2>/dev/null
        wait "$loading"
    done
    expect 0 segmenter load copy whole --resume
    expect 0 segmenter dump copy got
    [ "$(sums_of whole)" = "$(sums_of got)" ] || fail "the copy is another"
}

# reaches STREAM COUNT PID: it holds so many, or the process has ended.
reaches() {
    n=$(segmenter stream info "$1" --json 2>/dev/null | sed 's/.*"messages":\([0-9]*\),"created_ms".*/\1/')
    [ "${n:-0}" -ge "$2" ] || ! is_alive "$3"
}

case_load_damaged() {
    three_orders orders
    expect 0 segmenter dump orders whole
    size=$(wc -c <whole)
    at=0
    while [ $at -lt "$size" ]; do
        { head -c $at whole; printf '~'; tail -c +$((at + 2)) whole; } >bad
        expect 1 segmenter load --check bad
        at=$((at + 29))
    done
    { cat whole; echo; } >bad
    expect 1 segmenter load copy bad
    has err 'there is something behind the end'
    sed 2d whole >bad
    expect 1 segmenter load copy bad
    { sed -n 1p whole; sed -n 3p whole; sed -n 2p whole; sed -n '4,$p' whole; } >bad
    expect 1 segmenter load copy bad
    expect 3 segmenter stream info copy
    sed '2s/tea/TEA/; 2s/milk/MILK/' whole >bad
    expect 1 sh -c 'cat bad | "$SEGMENTER" load piped'
    has err 'its checksum or count is another; 3 messages before that were loaded$'
    expect 0 segmenter dump orders whole.zst
    { head -c 100 whole.zst; printf '~~~'; tail -c +104 whole.zst; } >bad
    expect 1 segmenter load --check bad
    : >bad
    expect 1 segmenter load --check bad
}

# Offsets of a copy count from 0, and what a stream cannot keep it is not given.
case_load_bounds() {
    expect 0 segmenter stream create ring -p 1 --size 100 --on-full drop-oldest
    seq 1 5000 | expect 0 segmenter produce ring
    expect 0 segmenter dump ring whole
    first=$(sed -n '1s/.*"first":\([0-9]*\),.*/\1/p' whole)
    [ "$first" -gt 0 ] || fail "nothing was dropped"
    count=$(messages ring)
    expect 0 segmenter stream create large -p 1 --size 6000
    expect 0 segmenter load large whole
    expect 0 segmenter get large 0 0 -f '%v'
    exactly "$((first + 1))"
    expect 0 segmenter stream create small -p 1 --size 10 --on-full reject
    expect 1 segmenter load small whole
    has err "partition 0 has $count messages in the dump, and stream .small. keeps 10: "
    has_messages small 0 || fail "it was begun"
    expect 1 segmenter load small whole --force
    has err '^segmenter load: [0-9]+ messages loaded, the next was refused: '
    expect 1 segmenter load small whole --append
    # A full stream that waits for its readers.
    expect 0 segmenter stream create waits -p 1 --size 60
    start log load waits whole --force --no-verify
    loading=$child
    eventually 30 grep -q 'stream .waits. is full: the load waits' log.err
    expect 0 segmenter consume waits -g g -n "$count" -f '%v\n'
    ended "$loading" 0
    [ "$(head -n 1 out)" = $((first + 1)) ] || fail "began with $(head -n 1 out)"
    [ "$(tail -n 1 out)" = 5000 ] || fail "ended with $(tail -n 1 out)"
}
