# cases.sh - the cases. Each starts in an empty directory and an empty namespace; see lib.sh.

# ---- Help and usage --------------------------------------------------------------------------------

case_help() {
    expect 0 segmenter --help
    golden help.txt out
    for command in "stream" "stream create" "stream ls" "stream info" "stream rm" "produce" \
        "consume" "group" "group ls" "group describe" "group seek" "group rm" "dlq" "dlq ls" \
        "dlq show" "dlq replay" "dlq drop" "server" "demo" "bench" "bench produce" "bench consume" \
        "bench sync" "bench e2e" "bench rebalance" "bench idle" "group members" "context" \
        "context add" "context ls" "context select" "context rm" "completion" "top" "stream where" \
        "check" "check connection" "check stream" "check group" "check dlq" "doctor" "exporter" \
        "tail" "get" "grep" "dump" "load"; do
        # shellcheck disable=SC2086 # two words
        expect 0 segmenter $command --help
        golden "help-$(echo "$command" | tr ' ' -).txt" out
        [ ! -s err ] || fail "$command --help wrote to stderr"
    done
    for command in "" "stream" "stream create" "check group" "consume"; do
        # shellcheck disable=SC2086 # two words
        expect 0 segmenter help $command
        file=help${command:+-}$(echo "$command" | tr ' ' -).txt
        same "$golden_dir/$file" out
    done
    expect 2 segmenter help nothing
    has err "unknown command 'nothing'"
    expect 0 segmenter -h stream create
    golden help-stream-create.txt out
    expect 0 segmenter --version
    has out '^segmenter [0-9]+\.[0-9]+\.[0-9]+$'
}

# usage ARGS...: append the command line, its one line of stderr and its exit code to usage.txt.
usage() {
    segmenter "$@" >out 2>err
    code=$?
    [ ! -s out ] || fail "a usage error wrote to stdout: $*"
    { echo "\$ segmenter $*"; cat err; echo "exit $code"; } >>usage.txt
}

case_usage() {
    usage
    usage frobnicate
    usage stream
    usage stream frobnicate
    usage --frobnicate
    usage -Q stream ls
    usage stream ls extra
    usage stream create
    usage stream create orders
    usage stream create orders -p
    usage stream create orders -p 0
    usage stream create orders --partitions=4097
    usage stream create orders -p eight
    usage stream create 'two words' -p 1
    usage stream create orders -p 1 --on-full explode
    usage stream create orders -p 1 --accept-existing=yes
    usage stream rm orders
    usage stream info
    usage group describe readers
    usage group rm readers -s orders
    usage consume orders
    usage consume orders -g 'no good'
    usage consume orders -g readers -n 0
    usage consume orders -g readers --idle-exit 5sec
    usage consume orders -g readers --idle-exit 1.5s
    usage consume orders -g readers --session-timeout 99ms
    usage consume orders -g readers -o newest
    usage consume orders -g readers -f '%z'
    usage consume orders -g readers -f 'a\q'
    usage consume orders -g readers -f '%v' -J
    usage consume orders -g readers -o -5
    usage consume orders -g readers -o @yesterday
    usage consume orders -g readers --workers 2
    usage consume orders -g readers --exec true --workers 1025
    usage consume orders -g readers --exec true --exec-stream cat
    usage consume orders -g readers --exec true -J
    usage consume orders -g readers --exec-stream cat -f '%v'
    usage consume orders -g readers --ordering time
    usage consume orders -g readers --max-attempts -1
    usage consume orders -g readers --member a --instance b
    usage group seek readers -s orders
    for place in tomorrow -5q +5m 1- @ @2026-02-29 @1970-01-01T00:00:00+01:00 @12345678901234; do
        usage group seek readers -s orders --to "$place"
    done
    usage group seek readers -s orders --to end --partition 4096
    usage group seek readers -s orders --to end --partition 1 --partition 1
    usage dlq
    usage dlq ls orders
    usage dlq show orders -g readers
    usage dlq show orders -g readers 0:1 -f '%v' --json
    usage dlq show orders -g readers 12
    usage dlq replay orders -g readers
    usage dlq replay orders -g readers 0:1 --all
    usage dlq replay orders -g readers 0:x
    usage dlq replay orders -g readers --all --rate 0
    usage dlq drop orders -g readers --yes
    usage dlq drop orders -g readers --all
    usage produce orders -K : -J
    usage produce orders -K '\x1'
    usage produce orders -H novalue
    usage produce orders -H =value
    usage produce orders --linger
    usage bench
    usage bench frobnicate
    usage bench produce orders
    usage bench produce --messages 0
    usage bench produce --size 15
    usage bench produce --codec gzip
    usage bench consume --partitions 4097
    usage bench sync --payload xml
    usage bench e2e --rate 0
    usage bench e2e --clients 2
    usage bench rebalance --session-timeout 99ms
    usage bench idle --duration 5sec
    usage produce orders --codec gzip
    usage -N 'bad/name' stream ls
    usage -u '' stream ls
    golden usage.txt usage.txt
    expect 2 env SEGMENTER_NAMESPACE=bad/name "$SEGMENTER" stream ls
    has err 'SEGMENTER_NAMESPACE takes 1 to 200 of the characters'
}

case_option_forms() {
    expect 0 segmenter --namespace=option_forms stream create a --partitions=2 --size 10
    expect 0 segmenter -Noption_forms stream create b -p2
    expect 0 segmenter stream -N option_forms create c -p 2
    expect 0 segmenter stream create -p 2 -N option_forms -- d
    expect 0 env SEGMENTER_NAMESPACE=elsewhere "$SEGMENTER" stream ls -N option_forms --json
    lines out 4 || fail "not all four streams are there"
    expect 0 env SEGMENTER_NAMESPACE=elsewhere "$SEGMENTER" stream ls --json
    [ ! -s out ] || fail "another namespace sees them"
    echo x | expect 0 segmenter produce a
    expect 0 segmenter consume a -eJg g
    has out '"value":"x"'
}

# ---- Streams and groups ------------------------------------------------------------------------------

# Replace what differs from run to run.
steady() {
    sed -e 's/20[0-9-]*T[0-9:]*Z/TIME/' -e 's/"created_ms":[0-9]*/"created_ms":TIME/' \
        -e 's/"ts_ms":[0-9]*/"ts_ms":TIME/' -e "s/\"host\":\"[^\"]*\"/\"host\":\"HOST\"/g" -e 's/"lease_ms":[0-9]*/"lease_ms":LEASE/' \
        -e "s/^m1,[^,]*,10000,[0-9]*/m1,HOST,10000,LEASE/" out
}

case_stream() {
    for args in "create orders -p 3" "create orders -p 3" \
        "create small -p 1 --size 5 --on-full drop-oldest" "create small -p 4 --accept-existing" \
        "ls" "ls --json" "info orders" "info small --json" "rm small --yes" "ls"; do
        # shellcheck disable=SC2086 # several words
        expect 0 segmenter stream $args
        { echo "\$ segmenter stream $args"; steady; } >>stream.txt
    done
    golden stream.txt stream.txt
    expect 4 segmenter stream create orders -p 4
    has err 'orders'
    [ ! -s out ] || fail "a failed create wrote to stdout"
}

case_not_found() {
    expect 3 segmenter stream info nowhere
    has err 'nowhere'
    expect 3 segmenter stream rm nowhere --yes
    expect 3 segmenter produce nowhere
    expect 3 segmenter consume nowhere -g g -e
    expect 3 segmenter group ls -s nowhere
    expect 3 segmenter group describe g -s nowhere
    expect 0 segmenter stream create orders -p 1
    expect 3 segmenter group describe nobody -s orders
    has err 'nobody'
    expect 3 segmenter group rm nobody -s orders --yes
}

case_group() {
    expect 0 segmenter stream create orders -p 2
    printf 'a:1\nb:2\nc:3\n' | expect 0 segmenter produce orders -K :
    start live.out consume orders -g readers --member m1 -f '%k=%v\n'
    pid=$child
    eventually 20 lines live.out 3
    eventually 20 has_lag orders readers 0
    for args in "ls" "ls -s orders --json" "describe readers -s orders --json" \
        "members readers -s orders --csv"; do
        # shellcheck disable=SC2086 # several words
        expect 0 segmenter group $args
        { echo "\$ segmenter group $args"; steady; } >>group.txt
    done
    golden group.txt group.txt
    expect 0 segmenter group describe readers -s orders
    has out '^group readers of stream orders: lag 0, 1 member, ok$'
    has out '^m1 +[^ ]+ +10s +[0-9.]+s +2 +0 +0-1$'
    expect 4 segmenter group rm readers -s orders --yes
    kill -TERM "$pid"
    ended "$pid" 0
    expect 0 segmenter group describe readers -s orders --json
    has out '"members":\[\]'
    has out '"owner":null'
    expect 0 segmenter group rm readers -s orders --yes
    has out '^deleted group readers of stream orders$'
    expect 3 segmenter group describe readers -s orders
    # Deleted means forgotten: the group starts again.
    expect 0 segmenter consume orders -g readers -e
    lines out 3 || fail "a new group of the same name did not start at earliest"
}

# ---- Connections and passwords ------------------------------------------------------------------------

case_connection() {
    expect 5 segmenter -u unix:///nowhere/redis.sock stream ls
    has err '/nowhere/redis.sock'
    [ "$(wc -l <err)" -eq 1 ] || fail "one fault, but not one line"
    expect 5 segmenter -u redis://127.0.0.1:1 stream ls
    expect 5 segmenter -u redis://127.0.0.1:1 consume orders -g g -e
    expect 2 segmenter -u http://127.0.0.1 stream ls
    expect 2 segmenter -u "$SEGMENTER_URL?colour=blue" stream ls
}

case_password() {
    secret=hun%74er2-secret
    for url in "redis://:$secret@127.0.0.1:1" "redis://user:$secret@127.0.0.1:1/3" \
        "redis://:$secret@127.0.0.1:port" "redis://:$secret/x@127.0.0.1:1" "http://u:$secret@h" \
        "redis://:$secret%zz@127.0.0.1:1" "redis://u:$secret@" "unix:///x?password=$secret"; do
        segmenter -v -u "$url" stream ls >out 2>err && fail "$url worked"
        cat out err >>all
        env SEGMENTER_URL="$url" "$SEGMENTER" -v stream ls >out 2>err && fail "$url worked"
        cat out err >>all
        segmenter "$url" >out 2>err && fail "$url worked as a command"
        cat out err >>all
        segmenter stream ls "$url" --frobnicate="$url" >out 2>err && fail "$url worked as a word"
        cat out err >>all
    done
    lines all 32 || fail "an error was silent"
    lacks all 'hunter2|hun%74er2|er2-secret'
}

# ---- Produce and consume -------------------------------------------------------------------------------

case_format() {
    expect 0 segmenter stream create orders -p 1
    printf 'k1:v1\nk2:a:b\n:empty key\nempty value:\n' |
        expect 0 segmenter produce orders -K : -H n=1 -H 'n=x=y'
    expect 0 segmenter consume orders -g g -e -f '%p %o %k=%v [%h] %K,%V %a %E %e%%\x09|\t|\\\n'
    golden format.txt out
    expect 0 segmenter consume orders -g zero -n 1 -f '%k\0'
    printf 'k1\0' >expected
    cmp -s expected out || fail "\\0 is not a NUL byte"
    expect 0 segmenter consume orders -g time -n 1 -f '%t\n'
    has out '^1[0-9]{12}$'
    expect 0 segmenter consume orders -g plain -e
    printf 'v1\na:b\nempty key\n\n' >expected
    same expected out
}

case_json() {
    expect 0 segmenter stream create orders -p 1
    cat >in <<'END'
{"key":"k","value":"text","ts_ms":1712,"headers":[["n","v"],["n","w"]]}
{"v":1,"key_b64":"/wAK","value_b64":"gA==","ts_ms":5,"headers":[["h",{"b64":"/v8="}],[{"b64":"gQ=="},""]],"unknown":[1]}
{"value":"no key, a NUL \u0000, \u00e9 and a \"quote\"\n","ts_ms":6}
{"key":null,"headers":null,"ts_ms":7}
END
    expect 0 segmenter produce orders -J in
    expect 0 segmenter consume orders -g g --member m -e -J
    golden json.txt out
}

# What consume -J writes, produce -J reads: nothing is lost on the way.
case_json_round_trip() {
    expect 0 segmenter stream create from -p 3
    expect 0 segmenter stream create to -p 3
    head -c 300000 /dev/urandom >binary
    awk 'BEGIN { for (i = 0; i < 2000; i++) printf "key-%d:value %d\n", i % 50, i }' >text
    expect 0 segmenter produce from -H "raw=$(printf '\377\376')" -H plain=yes binary
    expect 0 segmenter produce from -K : text
    expect 0 segmenter consume from -g copy -e -J
    mv out first
    expect 0 segmenter produce to -J first
    expect 0 segmenter consume to -g copy -e -J
    mv out second
    # Messages without a key may change their partition; all else is as it was.
    for file in first second; do
        sed -e 's/"stream":"[a-z]*","partition":[0-9]*,"era":1,"offset":[0-9]*,//' \
            -e 's/"attempt":.*//' $file | sort >$file.sorted
    done
    same first.sorted second.sorted
    [ "$(messages from)" = "$(messages to)" ] || fail "another number of messages"
    lines first.sorted 2000 || fail "messages are missing"
}

case_json_faults() {
    expect 0 segmenter stream create orders -p 1
    fault=0
    while IFS= read -r line; do
        fault=$((fault + 1))
        printf '{"value":"good"}\n%s\n' "$line" >"fault$fault"
        expect 1 segmenter produce orders -J "fault$fault"
        { echo "$line"; cat err; } >>faults.txt
    done <<'END'
nonsense
["array"]
{"value":1}
{"key":"a","key_b64":"YQ=="}
{"key_b64":"a"}
{"key_b64":"YR=="}
{"value_b64":"Y Q="}
{"ts_ms":"now"}
{"headers":{"n":"v"}}
{"headers":[["n"]]}
{"headers":[["n",1]]}
{"v":2}
{"value":"\ud800"}
END
    golden json-faults.txt faults.txt
    [ "$(messages orders)" = $fault ] || fail "$(messages orders) stored, expected $fault"
}

case_lines() {
    expect 0 segmenter stream create orders -p 1
    printf 'one\0\n\ncr\r\nlast' >in
    printf 'other\n' >other
    printf 'stdin\n' | expect 0 segmenter produce orders in - other
    [ ! -s out ] || fail "produce wrote to stdout"
    [ ! -s err ] || fail "produce wrote to stderr, which is no terminal"
    expect 0 segmenter consume orders -g g -e -f '%V:%v;'
    printf '4:one\0;0:;3:cr\r;4:last;5:stdin;5:other;' >expected
    cmp out expected || fail "the messages are others"
    expect 1 segmenter produce orders in nowhere other
    has err "cannot open 'nowhere'"
    has err '^segmenter produce: 4 messages stored before that$'
    expect 1 segmenter produce orders .
    has err "cannot read '\.': Is a directory"
    expect 0 segmenter produce orders -v other
    has err '^segmenter produce: 1 message stored, 5 bytes, '
}

case_long_lines() {
    expect 0 segmenter stream create orders -p 1
    { head -c 5000 /dev/zero | tr '\0' x; echo; echo next; } >in
    expect 1 segmenter produce orders --max-message 4999 in
    has err '^segmenter produce: in:1: the line is longer than 4999 bytes; see --max-message$'
    expect 0 segmenter produce orders --max-message 6000 in
    # An endless line is refused at its limit, not when memory is out.
    { echo first; tr '\0' x </dev/zero; } | expect 1 segmenter produce orders
    has err '^segmenter produce: stdin:2: the line is longer than 1048576 bytes'
    has err '^segmenter produce: 1 message stored before that$'
    { head -c 3000000 /dev/urandom | tr -d '\n'; echo; } >big
    expect 0 segmenter produce orders --max-message 4000000 big
    expect 0 segmenter consume orders -g g -e
    { cat in; echo first; cat big; } >expected
    cmp out expected || fail "a long message is another"
}

# One stream may have batches of all kinds.
case_codecs() {
    expect 0 segmenter stream create orders -p 1
    for codec in lz4 plain zstd; do
        awk -v c=$codec 'BEGIN { for (i = 0; i < 3000; i++) printf "%s:one of many messages, %d\n", c, i }' >in
        expect 0 segmenter produce orders -K : --linger 20ms --codec $codec in
        sed 's/:/ /' in >>expected
    done
    { head -c 100000 /dev/urandom | tr -d '\n'; echo; } >noise # does not shrink
    expect 0 segmenter produce orders --codec zstd noise
    expect 0 segmenter consume orders -g g -e -f '%k %v\n'
    { cat expected; printf ' '; cat noise; } >all
    cmp out all || fail "not what was sent"
}

case_key_delimiter() {
    expect 0 segmenter stream create orders -p 1
    printf 'a\tb\tc\nd--\te\n' | expect 0 segmenter produce orders -K '\t'
    printf 'k->v->w\n' | expect 0 segmenter produce orders -K '->'
    expect 0 segmenter consume orders -g g -e -f '%k|%v\n'
    printf 'a|b\tc\nd--|e\nk|v->w\n' >expected
    same expected out
    printf 'a:1\nb:2\nno delimiter\nc:3\n' >in
    expect 1 segmenter produce orders -K : in
    has err "^segmenter produce: in:3: the key delimiter ':' is not in this line$"
    has err '^segmenter produce: 2 messages stored before that$'
    [ "$(messages orders)" = 5 ] || fail "$(messages orders) messages, expected 5"
}

case_sync() {
    expect 0 segmenter stream create orders -p 2
    awk 'BEGIN { for (i = 0; i < 200; i++) print i }' >in
    expect 0 segmenter produce orders --sync in
    expect 0 segmenter consume orders -g g -e
    sort -n out >sorted
    same in sorted
}

case_ends() {
    expect 0 segmenter stream create orders -p 4
    # Nothing there: each way to end says so.
    expect 7 segmenter consume orders -g g -e
    expect 7 segmenter consume orders -g g --idle-exit 100ms
    awk 'BEGIN { for (i = 0; i < 1000; i++) print "k" i ":" i }' | expect 0 segmenter produce orders -K :
    expect 0 segmenter consume orders -g g -n 10
    [ "$(wc -l <out)" -eq 10 ] || fail "-n 10 wrote $(wc -l <out) lines"
    has_lag orders g 990 || fail "lag $(lag orders g), expected 990"
    cp out all
    expect 0 segmenter consume orders -g g -e
    cat out >>all
    has_lag orders g 0 || fail "-e left a lag of $(lag orders g)"
    sort -n all >sorted
    seq 0 999 >expected
    same expected sorted
    expect 7 segmenter consume orders -g g -e
    expect 0 segmenter consume orders -g other --idle-exit 500ms
    [ "$(wc -l <out)" -eq 1000 ] || fail "--idle-exit wrote $(wc -l <out) lines"
    expect 7 segmenter consume orders -g late -o latest -e
}

# -e ends when the group has done it, whoever of it did.
case_end_of_others() {
    expect 0 segmenter stream create orders -p 2
    seq 1 500 | expect 0 segmenter produce orders
    start a.out consume orders -g g -e
    first=$child
    start b.out consume orders -g g -e
    second=$child
    wait "$first"
    a=$?
    wait "$second"
    b=$?
    case "$a$b" in
    00 | 07 | 70) ;;
    *) fail "exit codes $a and $b" ;;
    esac
    cat a.out b.out | sort -n >sorted
    seq 1 500 >expected
    same expected sorted
}

# ---- Output that does not arrive -------------------------------------------------------------------------

case_full_disk() {
    expect 0 segmenter stream create orders -p 1
    segmenter stream ls >/dev/full 2>err
    [ $? -eq 1 ] || fail "stream ls on a full disk did not exit with 1"
    has err 'cannot write the output: No space left on device'
    segmenter --help >/dev/full 2>err
    [ $? -eq 1 ] || fail "--help on a full disk did not exit with 1"
    seq 1 100 | expect 0 segmenter produce orders
    segmenter consume orders -g g -e >/dev/full 2>err
    [ $? -eq 1 ] || fail "consume on a full disk did not exit with 1"
    has err 'cannot write the output: No space left on device'
    has_lag orders g 100 || fail "messages that were not written are acknowledged"
    expect 0 segmenter consume orders -g g -e
    seq 1 100 >expected
    same expected out
    # No stdout at all is fine where nothing is written.
    echo x | segmenter produce orders >&- 2>err || fail "produce without stdout failed"
}

case_broken_pipe() {
    expect 0 segmenter stream create orders -p 1
    seq 1 100000 | expect 0 segmenter produce orders
    { segmenter consume orders -g g 2>err; echo $? >code; } | head -n 1 >out
    [ "$(cat code)" = 1 ] || fail "exit code $(cat code), expected 1"
    has err 'cannot write the output: Broken pipe'
    # What head did not take is partly in the pipe, but it is never acknowledged unwritten.
    [ "$(lag orders g)" -gt 50000 ] || fail "lag $(lag orders g)"
}

# ---- Signals -----------------------------------------------------------------------------------------------

case_consume_signals() {
    expect 0 segmenter stream create orders -p 2
    seq 1 100 | expect 0 segmenter produce orders
    for signal in INT TERM HUP; do
        start live.out consume orders -g "$signal" --session-timeout 1h -v
        pid=$child
        eventually 20 lines live.out 100
        kill -$signal "$pid"
        ended "$pid" 0
        has_lag orders $signal 0 || fail "SIG$signal left a lag"
        has_members orders $signal 0 || fail "SIG$signal left a member behind"
        has live.out.err '100 messages written'
    done
    # Before anything arrived, and long before the session timeout, too.
    start live.out consume orders -g idle -o latest --session-timeout 1h
    pid=$child
    eventually 20 has_members orders idle 1
    kill -INT "$pid"
    ended "$pid" 0
    has_members orders idle 0 || fail "an idle consumer did not leave"
}

case_produce_signals() {
    expect 0 segmenter stream create orders -p 1
    mkfifo input
    start live.out produce orders input
    pid=$child
    exec 9>input
    seq 1 50 >&9
    eventually 20 has_messages orders 50
    kill -INT "$pid"
    ended "$pid" 1
    exec 9>&-
    has live.out.err '^segmenter produce: interrupted: 50 messages stored$'
}

# The second signal ends what the first could not: here a full stream that blocks.
case_second_signal() {
    expect 0 segmenter stream create orders -p 1 --size 10
    seq 1 100 >in
    start live.out produce orders in
    pid=$child
    eventually 20 is_stuck orders
    kill -TERM "$pid"
    eventually 20 takes_default_of "$pid"
    kill -TERM "$pid"
    ended "$pid" 143
}

# Its handlers are gone: the first signal was seen. SigCgt is a mask; SIGTERM is bit 14.
takes_default_of() {
    mask=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status")
    [ $((0x$mask & 0x4000)) -eq 0 ]
}

# ---- Bounds --------------------------------------------------------------------------------------------------

case_full_blocks() {
    expect 0 segmenter stream create orders -p 1 --size 1000
    seq 1 5000 >in
    start live.out produce orders in
    pid=$child
    eventually 20 is_stuck orders
    [ "$(messages orders)" -le 1000 ] || fail "$(messages orders) messages in a stream of 1000"
    is_alive "$pid" || fail "produce ended though the stream is full"
    expect 0 segmenter consume orders -g g -n 5000
    ended "$pid" 0
    same in out
}

case_full_rejects() {
    expect 0 segmenter stream create orders -p 1 --size 1000 --on-full reject
    seq 1 5000 >in
    expect 1 segmenter produce orders in
    stored=$(messages orders)
    [ "$stored" -eq 1000 ] || fail "$stored messages in a stream of 1000" # to the last place
    has err "^segmenter produce: $stored messages? stored, [0-9]+ failed, the rest of the input was not sent: "
    expect 0 segmenter consume orders -g g -e
    head -n 1000 in | cmp - out || fail "not the first thousand, in order"
}

# ---- Members ---------------------------------------------------------------------------------------------------

case_member_replaced() {
    expect 0 segmenter stream create orders -p 1
    start first.out consume orders -g g --member twin
    first=$child
    eventually 20 owns orders g twin
    start second.out consume orders -g g --member twin
    second=$child
    ended "$first" 4
    echo x | expect 0 segmenter produce orders
    eventually 20 lines second.out 1
    kill -TERM "$second"
    ended "$second" 0
}

case_stream_deleted() {
    expect 0 segmenter stream create orders -p 1
    start live.out consume orders -g g --member m
    eventually 20 owns orders g m
    expect 0 segmenter stream rm orders --yes
    ended "$child" 3
}

# The committed offsets of a group: "PARTITION COMMITTED" lines.
committed() {
    segmenter group describe "$2" -s "$1" --window 0 --json | grep -o '"partition":[0-9]*,"era":[0-9]*,"first":[0-9]*,"committed":[0-9]*' |
        sed 's/"partition":\([0-9]*\),.*"committed":/\1 /'
}

# The main job: 100,000 keyed lines in ten pieces; while they flow, one member is killed, one stopped
# past its lease and continued, one joins. Each writes key, sequence, partition, offset, epoch. The
# pieces during which one is killed or stopped are sent with --sync: slowly enough to be midway.
case_main_job() {
    MESSAGES=${MESSAGES:-100000}
    expect 0 segmenter stream create orders -p 8
    awk -v n="$MESSAGES" 'BEGIN { for (i = 0; i < n; i++) printf "key-%d:%d\n", i % 1000, int(i / 1000) }' >in
    split -l $((MESSAGES / 10)) in piece.
    set -- piece.*
    for m in 1 2 3; do
        start_member $m
        eval "pid$m=\$child"
    done
    for m in 1 2 3; do
        eventually 30 owns orders g "m$m"
    done

    cat "$1" "$2" | segmenter produce orders -K : || fail "produce failed"
    eventually 30 has_lag orders g 0
    count=$(wc -l <m2.out)
    segmenter produce orders -K : --sync "$3" &
    piece=$!
    eventually 30 lines m2.out $((count + 200))
    kill -KILL "$pid2"
    committed orders g >killed.at
    start_member 4
    pid4=$child
    wait $piece || fail "produce failed"
    segmenter produce orders -K : "$4" "$5" || fail "produce failed"
    eventually 30 owns_nothing orders g m2
    eventually 30 owns orders g m4
    eventually 60 has_lag orders g 0

    count=$(wc -l <m3.out)
    segmenter produce orders -K : --sync "$6" &
    piece=$!
    eventually 30 lines m3.out $((count + 200))
    kill -STOP "$pid3"
    committed orders g >stopped.at
    wait $piece || fail "produce failed"
    segmenter produce orders -K : "$7" || fail "produce failed"
    eventually 30 owns_nothing orders g m3
    kill -CONT "$pid3"
    segmenter produce orders -K : "$8" "$9" || fail "produce failed"
    eventually 30 owns orders g m3
    shift 9
    segmenter produce orders -K : "$1" || fail "produce failed"
    eventually 60 has_lag orders g 0
    for pid in "$pid1" "$pid3" "$pid4"; do
        kill -TERM "$pid"
        ended "$pid" 0
    done
    check_main_job
}

start_member() {
    start "m$1.out" consume orders -g g --member "m$1" --session-timeout 1s \
        -f '%k %v %p %o %e .\n'
}

check_main_job() {
    # Complete: every line of the file came, and no other.
    sort in >expected
    awk 'NF == 6 && $6 == "." { print $1 ":" $2 }' m?.out | sort -u >union
    same expected union
    # In order: what a member was handed under one epoch of a partition ascends, and so does each
    # key; and nothing was written again by another member that was committed before.
    awk '
        FILENAME ~ /\.at$/ { at[FILENAME, $1] = $2; next }
        NF != 6 || $6 != "." { next }
        {
            member = substr(FILENAME, 1, 2)
            run = member SUBSEP $3 SUBSEP $5
            if (run in last && $4 <= last[run]) { print "offset goes back: " FILENAME ": " $0; bad = 1 }
            last[run] = $4
            key = run SUBSEP $1
            if (key in sequence && $2 <= sequence[key]) { print "key goes back: " FILENAME ": " $0; bad = 1 }
            sequence[key] = $2
            message = $3 SUBSEP $4
            if (message in owner) {
                pair = owner[message] " " member
                killed = pair ~ /m2/ && $4 >= at["killed.at", $3]
                stopped = pair ~ /m3/ && $4 >= at["stopped.at", $3]
                if (!killed && !stopped) { print "committed, but came again: " pair ": " $0; bad = 1 }
                again++
            }
            owner[message] = message in owner ? owner[message] " " member : member
        }
        END { exit bad }
    ' killed.at stopped.at m?.out >faults || fail "$(head -n 20 faults)"
    # Stored in the order of the file, each once.
    cat m?.out | awk 'NF == 6 && $6 == "." { print $3, $4, $1, $2 }' | sort -u -k1,1n -k2,2n >log
    awk '$4 != next_of[$3] + 0 { print "log order: " $0; bad = 1 } { next_of[$3] = $4 + 1 }
        END { exit bad }' log >faults || fail "$(head -n 20 faults)"
    [ "$(wc -l <log)" -eq "$MESSAGES" ] || fail "$(wc -l <log) messages in the log"
}

# The server goes away and comes back with what it had: nobody has to be started again.
case_server_returns() {
    start url server --dir away
    server=$child
    eventually 30 lines url 1
    SEGMENTER_URL=$(cat url)
    expect 0 segmenter stream create orders -p 2
    start live.out consume orders -g g --member m
    consumer=$child
    mkfifo input
    start produce.out produce orders input
    producer=$child
    exec 9>input
    seq 1 100 >&9
    eventually 30 lines live.out 100
    kill -TERM "$server"
    ended "$server" 0
    seq 101 200 >&9
    is_alive "$consumer" && is_alive "$producer" || fail "one of them ended with the server"
    start url server --dir away
    eventually 30 lines live.out 200
    exec 9>&-
    ended "$producer" 0
    kill -TERM "$consumer"
    ended "$consumer" 0
    sort -n live.out >sorted
    seq 1 200 >expected
    same expected sorted
}

# ---- Server and demo ---------------------------------------------------------------------------------------------

server_gone() {
    ! segmenter -u "$1" stream ls >/dev/null 2>&1
}

case_server() {
    mkdir tmp
    export TMPDIR="$PWD/tmp"
    start url server
    pid=$child
    eventually 30 lines url 1
    has url '^unix:///.*/redis\.sock$'
    url=$(cat url)
    expect 0 segmenter -u "$url" stream create orders -p 1
    kill -INT "$pid"
    ended "$pid" 0
    server_gone "$url" || fail "the server still runs"
    [ -z "$(ls tmp)" ] || fail "left behind: $(ls tmp)"

    # A directory of its own keeps the data; one server at a time.
    start url server --dir 'my data'
    pid=$child
    eventually 30 lines url 1
    url=$(cat url)
    has url 'my%20data/redis\.sock$'
    expect 0 segmenter -u "$url" stream create kept -p 2
    echo kept | expect 0 segmenter -u "$url" produce kept
    expect 4 segmenter server --dir 'my data'
    has err 'a server is running in '
    kill -TERM "$pid"
    ended "$pid" 0
    start url server --dir 'my data'
    pid=$child
    eventually 30 lines url 1
    expect 0 segmenter -u "$url" consume kept -g g -e
    has out '^kept$'
    # However it ends, its server ends too.
    kill -KILL "$pid"
    eventually 30 server_gone "$url"
}

case_server_faults() {
    long=$(printf '%0100d' 0)
    expect 1 segmenter server --dir "$long"
    has err 'a unix socket allows 107'
    expect 1 segmenter server --program no-such-server
    has err 'found no no-such-server in PATH'
    expect 1 segmenter server --program /no/such/server
    has err "cannot start '/no/such/server': No such file or directory"
    expect 1 segmenter server --program /bin/false
    has err "'/bin/false' ended at once"
    touch file
    expect 1 segmenter server --dir file
    has err "file/lock': Not a directory"
    # The server itself dies: so does the command, and it says so.
    start url server --dir d
    pid=$child
    eventually 30 lines url 1
    kill -KILL "$(cat "/proc/$pid/task/$pid/children")"
    ended "$pid" 1
    has url.err 'the server was ended by signal 9'
}

case_demo() {
    mkdir tmp
    export TMPDIR="$PWD/tmp"
    expect 0 segmenter demo --messages 30000 --rate 6000
    has out '^demo: 30000 messages, 1000 keys, 0 lost, 0 duplicated, 0 out of order, takeover [0-9]+ ms$'
    has out 'consumer c4 joins'
    has out 'consumer c2 is killed; it held partitions [0-7]'
    [ -z "$(ls tmp)" ] || fail "left behind: $(ls tmp)"
    lacks out "$(printf '\033')"
}

case_demo_interrupted() {
    mkdir tmp
    export TMPDIR="$PWD/tmp"
    start live.out demo
    pid=$child
    eventually 60 has_line live.out 'sent [1-9]'
    kill -INT "$pid"
    ended "$pid" 1
    has live.out.err 'interrupted'
    [ -z "$(ls tmp)" ] || fail "left behind: $(ls tmp)"
}

has_line() {
    grep -Eq -- "$2" "$1"
}

# ---- The manual ----------------------------------------------------------------------------------------------------

# Run the examples of docs/cli.md in the order of the page, and compare what they print. An example
# is a block of ```console: each line that starts with "$ " is a command, what follows is its output.
case_manual() {
    manual=$here/../../docs/cli.md
    awk '/^```console$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$manual" >expected
    mkdir bin
    ln -s "$SEGMENTER" bin/segmenter
    sed -n 's/^\$ //p' expected >commands
    lines commands 10 || fail "found no examples in $manual"
    while IFS= read -r command; do
        printf '$ %s\n' "$command"
        env PATH="$PWD/bin:$PATH" sh -c "$command" 2>&1 </dev/null
    done <commands >printed
    same expected printed
}
