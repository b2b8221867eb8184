# cases_delivery.sh - the cases about commands that handle messages, moved groups and dead letters. They
# are written like those in cases.sh.

# dead_letters STREAM GROUP: how many there are.
dead_letters() {
    segmenter dlq ls "$1" -g "$2" --json | wc -l
}

# Times differ from run to run.
timeless() {
    sed -E -e 's/20[0-9-]+T[0-9:]+Z/TIME                /' -e 's/"([a-z]+_)(failed_)?ms":[0-9]+/"\1\2ms":TIME/g' \
        -e 's/ +$//' "$1"
}

# ---- One process for each message --------------------------------------------------------------------

case_exec() {
    expect 0 segmenter stream create orders -p 2
    printf 'ann:tea\n' | expect 0 segmenter produce orders -K : -H 'x-y=first' -H 'x.Y=last' -H 'path=/no'
    stale=SEGMENTER_HEADER_OLD
    expect 0 env $stale=1 SEGMENTER_KEY=none "$SEGMENTER" consume orders -g g -e --exec \
        'cat; echo " $SEGMENTER_KEY"; env | grep -E "^SEGMENTER_(STREAM|GROUP|KEY|PARTITION|OFFSET|ATTEMPT|TIMESTAMP|HEADER_)" | sort'
    has out '^tea ann$'
    sed -n '2,$p' out >vars
    partition=$(sed -n 's/^SEGMENTER_PARTITION=//p' vars)
    sed -i 's/^SEGMENTER_TIMESTAMP=1[0-9]*$/SEGMENTER_TIMESTAMP=NOW/' vars
    cat >expected <<END
SEGMENTER_ATTEMPT=1
SEGMENTER_GROUP=g
SEGMENTER_HEADER_PATH=/no
SEGMENTER_HEADER_X_Y=last
SEGMENTER_KEY=ann
SEGMENTER_OFFSET=0
SEGMENTER_PARTITION=$partition
SEGMENTER_STREAM=orders
SEGMENTER_TIMESTAMP=NOW
END
    same expected vars
    has_lag orders g 0 || fail "an exit code of 0 did not acknowledge"
}

# All bytes of a value come through, however many; who reads none of them is no fault.
case_exec_bytes() {
    expect 0 segmenter stream create orders -p 1
    head -c 700000 /dev/urandom | tr -d '\n' >value
    { cat value; echo; echo '{"key_b64":"YQBi","value":"a\u0000b"}' >json; } |
        expect 0 segmenter produce orders --max-message 1000000
    expect 0 segmenter produce orders -J json
    # shellcheck disable=SC2016 # for the command's shell
    expect 0 segmenter consume orders -g g -e --exec 'cat >got.$SEGMENTER_OFFSET; echo "[$SEGMENTER_KEY]"'
    cmp value got.0 || fail "the value is another"
    printf 'a\0b' | cmp - got.1 || fail "a NUL byte is missing"
    has out '^\[a\]$'
    expect 0 segmenter consume orders -g none -e --exec 'exec <&-; true'
    has_lag orders none 0 || fail "a command that reads nothing failed"
    expect 0 sh -c '"$SEGMENTER" consume orders -g bare -n 1 --exec "cat >bare" <&-'
    cmp value bare || fail "without a stdin of our own the value is another"
}

# 65 rejects, others come again, and at last are dead letters with a reason.
case_exec_codes() {
    expect 0 segmenter stream create orders -p 1
    printf 'a:good\nb:poison\nc:hopeless\nd:killed\ne:good\n' | expect 0 segmenter produce orders -K :
    cat >handle <<'END'
read -r value
echo "$SEGMENTER_OFFSET $SEGMENTER_ATTEMPT" >>tries
case $value in
poison) printf 'first line\nthe cup\001 is broken\n\n' >&2; exit 3 ;;
hopeless) echo never >&2; exit 65 ;;
killed) kill -9 $$ ;;
esac
END
    expect 0 segmenter consume orders -g g -e --retry-delay 1ms --max-attempts 3 -v --exec 'exec sh ./handle'
    has err '^first line$'
    has err '2 acknowledged, 6 failed, 1 rejected, 3 dead-lettered$'
    [ "$(grep -c '^1 ' tries)" -eq 3 ] || fail "tries: $(cat tries)"
    [ "$(grep -c '^2 ' tries)" -eq 1 ] || fail "tries: $(cat tries)"
    has tries '^1 3$'
    has_lag orders g 0 || fail "dead letters are still in the way"
    expect 0 segmenter dlq ls orders -g g
    has out '^0:[0-9]+ +0:1 +3 +max-attempts +b .*exit code 3: the cup\? is broken$'
    has out '^0:[0-9]+ +0:2 +1 +rejected +c .*exit code 65: never$'
    has out '^0:[0-9]+ +0:3 +3 +max-attempts +d .*killed by signal 9$'
}

# A command that is not there, and one that nobody could start: its environment would be too large.
case_exec_not_started() {
    expect 0 segmenter stream create orders -p 1
    { printf '{"value":"v","headers":[["h","'; head -c 200000 /dev/zero | tr '\0' x; echo '"]]}'; } >json
    expect 0 segmenter produce orders -J json
    echo plain | expect 0 segmenter produce orders
    expect 0 segmenter consume orders -g g -e --retry-delay 1ms --max-attempts 2 --exec ./no-such-command
    expect 0 segmenter dlq ls orders -g g
    has out '0:0 +2 +max-attempts .*cannot start the command: Argument list too long$'
    has out '0:1 +2 +max-attempts .*exit code 127: '
}

# -n counts what is finished; the rest stays for the next.
case_exec_count() {
    expect 0 segmenter stream create orders -p 4
    seq 1 100 | expect 0 segmenter produce orders
    expect 0 segmenter consume orders -g g -n 10 --workers 4 --retry-delay 1ms \
        --exec 'read v; echo $v; [ $SEGMENTER_ATTEMPT -gt 1 ]'
    # Each fails once before.
    [ "$(sort out | uniq -d | wc -l)" -eq 10 ] || fail "$(sort out | uniq -d | wc -l) were finished, not 10"
    expect 0 segmenter consume orders -g g --idle-exit 1s --workers 4 --exec 'read v; echo $v'
    has_lag orders g 0 || fail "--idle-exit left a lag of $(lag orders g)"
    expect 7 segmenter consume orders -g g -e --exec true
    expect 7 segmenter consume orders -g g --idle-exit 100ms --exec true
    # What failed for the last time is done as well.
    expect 0 segmenter consume orders -g f -n 2 --max-attempts 2 --retry-delay 1ms --exec false
    expect 0 segmenter dlq ls orders -g f --json
    [ "$(wc -l <out)" -eq 2 ] || fail "$(wc -l <out) dead letters, not 2"
    has_lag orders f 98 || fail "a lag of $(lag orders f), not 98"
}

# Workers handle keys at once, and each key in order, also over failures.
case_exec_order() {
    expect 0 segmenter stream create orders -p 2
    awk 'BEGIN { for (i = 0; i < 120; i++) print "k" i % 6 ":" int(i / 6) }' | expect 0 segmenter produce orders -K :
    cat >handle <<'END'
read -r value
if [ "$value" = 3 ] && [ "$SEGMENTER_ATTEMPT" -lt 3 ]; then exit 1; fi
echo "$SEGMENTER_KEY $value" >>handled
END
    expect 0 segmenter consume orders -g g -e --workers 5 --retry-delay 20ms --exec 'exec sh ./handle'
    awk '$2 != next_of[$1] + 0 { print "out of order: " $0; bad = 1 } { next_of[$1]++ }
        END { exit bad }' handled >faults || fail "$(cat faults)"
    [ "$(wc -l <handled)" -eq 120 ] || fail "$(wc -l <handled) handled, expected 120"
}

# One waits for the other: with one worker, or one message at a time, this would never end.
case_exec_parallel() {
    expect 0 segmenter stream create orders -p 1
    printf 'a:1\nb:2\n' | expect 0 segmenter produce orders -K :
    mkfifo meeting
    cat >handle <<'END'
read -r value
if [ "$value" = 1 ]; then echo here >meeting; else read -r word <meeting; echo "$word"; fi
END
    expect 0 segmenter consume orders -g g -e --workers 2 --exec 'exec sh ./handle'
    has out '^here$'
}

# The command is killed by somebody: its message comes again. What it left behind does not hold us up.
case_exec_killed() {
    expect 0 segmenter stream create orders -p 1
    echo x | expect 0 segmenter produce orders
    cat >handle <<'END'
[ "$SEGMENTER_ATTEMPT" -gt 1 ] && { sleep 100 & echo $! >left; exit 0; }
echo $$ >pid
exec sleep 100
END
    start live.out consume orders -g g -e --retry-delay 1ms --exec 'exec sh ./handle'
    eventually 20 test -s pid
    kill -KILL "$(cat pid)"
    ended "$child" 0
    kill "$(cat left)"
    has_lag orders g 0 || fail "it did not come again"
}

case_exec_timeout() {
    expect 0 segmenter stream create orders -p 1
    echo x | expect 0 segmenter produce orders
    expect 0 segmenter consume orders -g g -e --ack-timeout 100ms --retry-delay 1ms --exec \
        '[ $SEGMENTER_ATTEMPT -gt 1 ] || { echo $$ >pid; sleep 100; }'
    ! is_alive "$(cat pid)" || fail "it was not killed"
    has_lag orders g 0 || fail "it did not come again"
}

# The first signal lets the commands finish, and begins no other.
case_exec_signal() {
    expect 0 segmenter stream create orders -p 1
    seq 1 10 | expect 0 segmenter produce orders
    start live.out consume orders -g g --workers 2 --session-timeout 1h \
        --exec 'read v; echo begun $v; until [ -e gate ]; do sleep 0.05; done; echo done $v'
    eventually 20 lines live.out 2
    kill -INT "$child"
    eventually 20 grep -q 'waiting for 2 commands to end; a second signal kills them' live.out.err
    is_alive "$child" || fail "it did not wait"
    : >gate
    ended "$child" 0
    [ "$(grep -c begun live.out)" -eq 2 ] || fail "another command was begun"
    [ "$(grep -c 'done' live.out)" -eq 2 ] || fail "a command was not waited for"
    has_lag orders g 8 || fail "lag $(lag orders g), expected 8"
    has_members orders g 0 || fail "a member was left behind"
}

case_exec_second_signal() {
    expect 0 segmenter stream create orders -p 1
    seq 1 10 | expect 0 segmenter produce orders
    start live.out consume orders -g g --workers 2 --exec 'echo $$ >>pids; sleep 100; echo done'
    eventually 20 lines pids 2
    kill -TERM "$child"
    eventually 20 grep -q 'a second signal kills them' live.out.err
    kill -TERM "$child"
    ended "$child" 143
    for pid in $(cat pids); do
        eventually 20 is_gone "$pid"
    done
    [ ! -s live.out ] || fail "a killed command went on"
    has_lag orders g 10 || fail "what was killed is acknowledged"
}

is_gone() {
    ! is_alive "$1"
}

# ---- A process that answers ----------------------------------------------------------------------------

case_exec_stream() {
    expect 0 segmenter stream create orders -p 1
    printf 'a:1\nb:bad\nc:late\nd:4\n' | expect 0 segmenter produce orders -K :
    cat >answer <<'END'
while IFS= read -r line; do
    printf '%s\n' "$line" >>seen
    case $line in
    *'"value":"bad"'*) echo 'reject no good at all' ;;
    *'"value":"late"'*'"attempt":1,'*) printf 'retry 10ms come later\r\n' ;;
    *) echo ack ;;
    esac
done
END
    expect 0 segmenter consume orders -g g -e -v --exec-stream 'exec sh ./answer'
    has err '3 acknowledged, 1 failed, 1 rejected, 1 dead-lettered'
    has err 'attempt 1: failed: come later$'
    [ "$(wc -l <seen)" -eq 5 ] || fail "$(wc -l <seen) lines were sent, expected 5"
    has seen '^\{"v":1,"stream":"orders","partition":0,"era":1,"offset":0,.*"key":"a","value":"1".*"attempt":1,'
    has seen '"value":"late".*"attempt":2,'
    expect 0 segmenter dlq ls orders -g g
    has out '0:1 +1 +rejected +b .*no good at all$'
    has_lag orders g 0 || fail "it left a lag"
}

# A program that dies, one that answers nonsense or twice, one that never answers, one that stops
# midway in a line: the message comes again, and a new process gets it.
case_exec_stream_faults() {
    expect 0 segmenter stream create orders -p 1
    printf 'dies\nnonsense\nsilent\nhalf\ntwice\nfine\n' | expect 0 segmenter produce orders
    cat >answer <<'END'
echo $$ >>started
while IFS= read -r line; do
    case $line in
    *'"attempt":1,'*) ;;
    *) echo ack; continue ;;
    esac
    case $line in
    *'"dies"'*) exit 7 ;;
    *'"nonsense"'*) echo "I am fine" ;;
    *'"silent"'*) ;;
    *'"half"'*) printf ack; exit 0 ;;
    *'"twice"'*) printf 'ack\nack\n' ;;
    *) echo ack ;;
    esac
done
END
    expect 0 segmenter consume orders -g g -e -v --ack-timeout 500ms --retry-delay 1ms \
        --exec-stream 'exec sh ./answer'
    has err 'offset 0: the command failed: ended without an answer: exit code 7; it is started anew$'
    has err "offset 1: the command failed: answered 'I am fine', expected ack, retry"
    has err 'offset 2: the command failed: no answer within 500ms'
    has err 'offset 3: the command failed: ended without an answer: exit code 0'
    has err 'the command said something that it was not asked for'
    has err '6 acknowledged, 4 failed, 0 rejected, 0 dead-lettered'
    has_lag orders g 0 || fail "it left a lag"
    for pid in $(cat started); do
        eventually 20 is_gone "$pid"
    done
}

# A command that cannot work is started a few times, not thousands; its messages are kept.
case_exec_stream_broken() {
    expect 0 segmenter stream create orders -p 1
    seq 1 5 | expect 0 segmenter produce orders
    expect 0 segmenter consume orders -g g -e --max-attempts 1 --exec-stream 'echo x >>started; exit 1'
    [ "$(wc -l <started)" -eq 5 ] || fail "started $(wc -l <started) times, expected 5"
    [ "$(dead_letters orders g)" -eq 5 ] || fail "$(dead_letters orders g) dead letters"
    expect 0 segmenter dlq ls orders -g g
    has out 'ended without an answer: exit code 1$'
}

case_exec_stream_signals() {
    expect 0 segmenter stream create orders -p 1
    seq 1 3 | expect 0 segmenter produce orders
    start live.out consume orders -g g --exec-stream 'echo $$ >pid; cat >/dev/null; sleep 100'
    eventually 20 test -s pid
    eventually 20 owns_something orders g
    kill -TERM "$child"
    eventually 20 grep -q 'a second signal kills it' live.out.err
    kill -TERM "$child"
    ended "$child" 143
    eventually 20 is_gone "$(cat pid)"
}

owns_something() {
    segmenter group describe "$2" -s "$1" --window 0 --json | grep -q '"owner":"'
}

# ---- Places ----------------------------------------------------------------------------------------------

# Where a new group starts. The messages are a second apart.
case_start() {
    expect 0 segmenter stream create orders -p 1
    # As text: an awk may not know numbers of that size.
    awk 'BEGIN { for (i = 0; i < 10; i++) print "{\"value\":\"" i "\",\"ts_ms\":173226960" i "000}" }' |
        expect 0 segmenter produce orders -J
    first() { # PLACE EXPECTED
        expect 0 segmenter consume orders -g "g$2$(echo "$1" | cksum | cut -d ' ' -f 1)" -n 1 -o "$1"
        [ "$(cat out)" = "$2" ] || fail "-o $1 began at $(cat out), expected $2"
    }
    first 4 4
    first earliest 0
    first @1732269605 5
    first @1732269605001 6
    first @2024-11-22T10:00:07Z 7
    first @2024-11-22T11:00:07.000+01:00 7
    first @2024-11-22 0
    expect 7 segmenter consume orders -g late -e -o -5m
    expect 7 segmenter consume orders -g later -e -o 99
}

case_seek() {
    expect 0 segmenter stream create orders -p 2
    awk 'BEGIN { for (i = 0; i < 20; i++) print "k" i ":" i }' | expect 0 segmenter produce orders -K :
    expect 0 segmenter consume orders -g g -n 20
    for args in "--to start" "--to start --json" "--to 3 --execute" "--to +2" "--to -1 --partition 1" \
        "--to -5m --execute" "--to end --partition 0 --execute" "--to @1 --execute --json"; do
        # shellcheck disable=SC2086 # several words
        expect 0 segmenter group seek g -s orders $args
        { echo "\$ segmenter group seek g -s orders $args"; cat out err; } >>seek.txt
    done
    expect 0 segmenter group seek new -s orders --to 5
    { echo "\$ segmenter group seek new -s orders --to 5"; cat out err; } >>seek.txt
    golden seek.txt seek.txt
    expect 3 segmenter group describe new -s orders
    expect 0 segmenter consume orders -g g -e
    [ "$(wc -l <out)" -eq 20 ] || fail "$(wc -l <out) came again, expected all 20"
    expect 0 segmenter group seek new -s orders --to end --execute
    expect 7 segmenter consume orders -g new -e
    expect 3 segmenter group seek g -s nowhere --to start
}

case_seek_active() {
    expect 0 segmenter stream create orders -p 1
    seq 1 5 | expect 0 segmenter produce orders
    start live.out consume orders -g g
    eventually 20 has_lag orders g 0
    expect 4 segmenter group seek g -s orders --to start --execute
    has err 'stop its members first, or add --while-active'
    [ "$(wc -l <live.out)" -eq 5 ] || fail "a refused seek did something"
    expect 0 segmenter group seek g -s orders --to 2 --execute --while-active
    eventually 20 lines live.out 8
    kill -TERM "$child"
    ended "$child" 0
    printf '1\n2\n3\n4\n5\n3\n4\n5\n' >expected
    same expected live.out
}

# ---- Dead letters ------------------------------------------------------------------------------------------

# Five dead letters: d0 to d4, from a stream with one partition; the last was rejected.
kill_five() {
    expect 0 segmenter stream create orders -p 1
    awk 'BEGIN { for (i = 0; i < 5; i++) print "k" i % 2 ":d" i }' |
        expect 0 segmenter produce orders -K : -H lang=en
    expect 0 segmenter consume orders -g g -e --max-attempts 1 --exec \
        'read v; echo "no cup for $v" >&2; [ $v != d4 ] || exit 65; exit 3'
}

case_dlq() {
    kill_five
    for args in "ls orders -g g" "ls orders -g g --json" "ls orders -g g --match k1" \
        "ls orders -g g --reason rejected" "ls orders -g g --reason d2" "ls orders -g g -n 2" \
        "show orders -g g 0:1" "show orders -g g 0:1 --json" "show orders -g g 0:2 0:0 -f %p:%o,%k,%v,%h,%a;" \
        "replay orders -g g --match k0 --dry-run" "drop orders -g g --all --dry-run --json"; do
        # shellcheck disable=SC2086 # several words
        expect 0 segmenter dlq $args
        cat out err >both
        { echo "\$ segmenter dlq $args"; timeless both; } >>dlq.txt
    done
    golden dlq.txt dlq.txt
    [ "$(dead_letters orders g)" -eq 5 ] || fail "looking took something away"
}

case_dlq_replay() {
    kill_five
    expect 0 segmenter dlq replay orders -g g 0:1 -v
    has out '^replayed 0:1$'
    has err 'replayed 1 dead letter$'
    expect 0 segmenter consume orders -g g -e -f '%k %v %h\n'
    has out '^k1 d1 lang=en$'
    [ "$(wc -l <out)" -eq 1 ] || fail "it came $(wc -l <out) times"
    expect 3 segmenter dlq replay orders -g g 0:1 0:0 0:77
    has err "no dead letter '0:1'"
    has err "no dead letter '0:77'"
    has err 'replayed 1 dead letter$'
    expect 0 segmenter stream create elsewhere -p 1
    expect 0 segmenter dlq replay orders -g g --reason rejected --to elsewhere --json
    has out '^\{"v":1,"id":"0:4","stream":"orders","group":"g","action":"replay","to":"elsewhere","done":true\}$'
    expect 0 segmenter consume elsewhere -g g -e
    has out '^d4$'
    expect 3 segmenter dlq replay orders -g g --all --to nowhere
    [ "$(dead_letters orders g)" -eq 2 ] || fail "a failed replay took something away"
    expect 0 segmenter dlq replay orders -g g --all --rate 20
    expect 0 segmenter dlq ls orders -g g
    [ "$(wc -l <out)" -eq 1 ] || fail "letters are left"
    expect 3 segmenter dlq replay orders -g g --all
    has err "group 'g' of stream 'orders' has no dead letters"
}

case_dlq_drop() {
    kill_five
    expect 0 segmenter dlq drop orders -g g --match k1 --yes
    has err 'dropped 2 dead letters$'
    expect 0 segmenter dlq drop orders -g g -n 1 --yes
    expect 0 segmenter dlq drop orders -g g --match nobody --yes
    has err 'dropped 0 dead letters$'
    [ "$(dead_letters orders g)" -eq 2 ] || fail "$(dead_letters orders g) are left, expected 2"
    expect 3 segmenter dlq drop orders -g g 0:0 --yes
    expect 0 segmenter dlq drop orders -g g --all --yes
    [ "$(messages orders)" -eq 5 ] || fail "the stream itself was touched"
}

case_dlq_none() {
    expect 3 segmenter dlq ls orders -g g
    expect 0 segmenter stream create orders -p 1
    expect 3 segmenter dlq ls orders -g g
    has err 'g'
    echo x | expect 0 segmenter produce orders
    expect 0 segmenter consume orders -g g -e
    expect 0 segmenter dlq ls orders -g g
    [ "$(wc -l <out)" -eq 1 ] || fail "there should be a heading, and nothing else"
    expect 0 segmenter dlq ls orders -g g --json
    [ ! -s out ] || fail "an empty list is not empty"
    for args in "show orders -g g 0:1" "replay orders -g g --all" "drop orders -g g --all --yes"; do
        # shellcheck disable=SC2086 # several words
        expect 3 segmenter dlq $args
        has err "group 'g' of stream 'orders' has no dead letters"
    done
}

# ---- Writing, with attempts ----------------------------------------------------------------------------------

# A message that its consumer dies with again and again becomes a dead letter in the end.
case_max_attempts() {
    expect 0 segmenter stream create orders -p 1
    echo poison | expect 0 segmenter produce orders
    for _ in 1 2; do
        start live.out consume orders -g g --session-timeout 200ms --exec 'echo $$ >pid; exec sleep 100' --max-attempts 2
        eventually 20 test -s pid
        kill -KILL "$child"
        kill -KILL "$(cat pid)"
        rm pid
    done
    expect 7 segmenter consume orders -g g -e --max-attempts 2 --session-timeout 200ms --exec 'echo handled'
    [ ! -s out ] || fail "it was handled once more"
    expect 0 segmenter dlq ls orders -g g
    has out '0:0 +2 +crashed '
}

# A static member comes back under its name, and nothing moves meanwhile.
case_instance() {
    expect 0 segmenter stream create orders -p 2
    start a.out consume orders -g g --instance a
    first=$child
    start b.out consume orders -g g --instance b
    eventually 20 owns orders g a
    eventually 20 owns orders g b
    kill -TERM "$first"
    ended "$first" 0
    owns orders g a || fail "a static member lost its partition when it ended"
    start a.out consume orders -g g --instance a
    seq 1 20 | expect 0 segmenter produce orders
    eventually 20 has_lag orders g 0
    owns orders g a || fail "it did not get its partition back"
}
