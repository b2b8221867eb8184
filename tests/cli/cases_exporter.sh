# cases_exporter.sh - the exporter, and what a service manager is told; see lib.sh.
# $PEER is what a shell cannot be: tests/cli/peer.c.

# export_with ARGS...: an exporter on a port of its own, in $exporter; its address in $at.
export_with() {
    start exporter.out exporter --listen 127.0.0.1:0 --interval 0s "$@"
    exporter=$child
    eventually 30 lines exporter.out 1
    at=$(sed -n 's,^http://\([^/]*\)/metrics$,\1,p' exporter.out)
    [ -n "$at" ] || fail "no address: $(cat exporter.out)"
}

# scrape PATH [ACCEPT]: the answer's body in `body`, its head in `head`.
scrape() {
    "$PEER" http "$at" GET "$@" >answer || fail "no answer to $*"
    sed -n '1,/^\r*$/p' answer | tr -d '\r' >head
    sed '1,/^\r*$/d' answer >body
}

# answers CODE PATH
answers() {
    scrape "$2"
    grep -q "^HTTP/1.1 $1 " head
}

# sample FILE NAME{LABELS} VALUE
sample() {
    grep -Fxq "$2 $3" "$1" || fail "no '$2 $3' in $1: $(grep -F "${2%%\{*}{" "$1" | head -n 5)"
}

finish_exporter() {
    kill -TERM "$exporter"
    ended "$exporter" 0
}

# Two streams, a group with lag and one without, dead letters.
some_groups() {
    expect 0 segmenter stream create orders -p 2 --size 10
    printf 'a:1\nb:2\nc:3\nd:4\n' | expect 0 segmenter produce orders -K :
    expect 0 segmenter consume orders -g finished -e
    expect 0 segmenter consume orders -g rejects -n 4 --exec 'exit 65'
    expect 0 segmenter group seek waits -s orders --to start --execute
    expect 0 segmenter stream create log -p 1 --size 5 --on-full drop-oldest
}

case_exporter_once() {
    some_groups
    expect 0 segmenter exporter --once --partitions 100
    [ ! -s err ] || fail "it wrote to stderr"
    sed -e 's/_seconds\({.*}\) [0-9.e-]*$/_seconds\1 SECONDS/' \
        -e 's/version="[^"]*"/version="V"/' -e 's/server="[^"]*"/server="S"/' out >steady
    golden exporter-once.txt steady
    # What is shown as SECONDS: nothing waits in one, and something does in the other.
    sample out 'segmenter_group_lag_seconds{namespace="exporter_once",stream="orders",group="finished"}' 0
    lacks out '^segmenter_group_lag_seconds.*group="waits"} 0$'
    # No more partitions than it may tell of, and it says how many it left out.
    expect 0 segmenter exporter --once --partitions 2
    [ "$(grep -c '^segmenter_group_partition_lag_messages' out)" -eq 2 ] || fail "not two partitions"
    sample out 'segmenter_scrape_partitions_skipped{namespace="exporter_once"}' 8
    expect 0 segmenter exporter --once --describe 0
    sample out 'segmenter_scrape_groups_skipped{namespace="exporter_once"}' 2
    lacks out '^segmenter_group_lag_seconds.*group="waits"'
    sample out 'segmenter_group_lag_messages{namespace="exporter_once",stream="orders",group="waits"}' 4
    expect 0 segmenter exporter --once --stream log -s nowhere
    lacks out 'stream="orders'
    has out '^segmenter_stream_info.*stream="log",on_full="drop-oldest"} 1$'
}

case_exporter_faults() {
    for args in "--once --list" "--once --json" "--json" "--once --sort metric" "-s a -s b -s a" "--listen 9464" "--listen host:" "--listen ::1:9464" \
        "--listen [::1:9464" "--listen 127.0.0.1:65536" "--stream two,words" "--timeout 99ms" "extra"; do
        # shellcheck disable=SC2086 # several words
        segmenter exporter $args >out 2>err
        code=$?
        { echo "\$ segmenter exporter $args"; cat err; echo "exit $code"; } >>faults.txt
        [ ! -s out ] || fail "a usage error wrote to stdout: $args"
    done
    golden exporter-faults.txt faults.txt
    expect 2 segmenter exporter --listen 9464
    expect 5 segmenter -u unix:///nowhere/redis.sock exporter --once
    [ ! -s out ] || fail "half a text"
    # Not a server that is away: a URL that is none.
    expect 2 segmenter -u http://127.0.0.1 exporter --listen 127.0.0.1:0
    export_with
    expect 4 segmenter exporter --listen "$at"
    has err "cannot listen on '$at': Address already in use"
    finish_exporter
}

# docs/operations.md has the table of the metrics; and what is exported is in the table.
case_exporter_table() {
    expect 0 segmenter exporter --list --json
    sed 's/^{"v":1,"metric":"\(.*\)","type":"\(.*\)","labels":"\(.*\)","help":"\(.*\)"}$/| `\1` | \2 | \3 | \4 |/' \
        out >table
    lines table 25 || fail "a short table"
    sed -n '/^| metric | type | labels/,/^$/p' "$here/../../docs/operations.md" | sed -e 1,2d -e '/^$/d' >manual
    same manual table
    some_groups
    expect 0 segmenter exporter --once -s nowhere
    cp out named
    expect 0 segmenter exporter --once --partitions 100
    cat named >>out
    sed -n 's/^# HELP \([^ ]*\) \(.*\)$/\1 \2/p' out | sort -u >exported
    sed 's/^| `\(.*\)` | [a-z]* | [a-z_ ]* | \(.*\) |$/\1 \2/' table | sort >known
    comm -23 exported known >unknown
    [ ! -s unknown ] || fail "not in the table: $(cat unknown)"
    # Only the exporter's counters are missing in a single collection.
    comm -13 exported known | sed 's/ .*//' >missing
    printf 'segmenter_exporter_collection_failures_total\nsegmenter_exporter_collections_total\n' >expected
    same expected missing
    # Each sample's labels are those of the table, after the namespace.
    sed -n 's/^\(segmenter[a-z_]*\){\(.*\)} [^ ]*$/\1 \2/p' out |
        sed -e 's/="[^"]*"//g' -e 's/,/ /g' -e 's/ namespace//' | sort -u >labelled
    sed 's/^| `\(.*\)` | [a-z]* | \([a-z_ ]*\) | .*$/\1 \2/' table | sed 's/ *$//' | sort >expected
    comm -23 labelled expected >wrong
    [ ! -s wrong ] || fail "other labels than in the table: $(cat wrong)"
}

case_exporter_http() {
    some_groups
    export_with
    scrape /metrics
    has head '^HTTP/1.1 200 OK$'
    has head '^Content-Type: text/plain; version=0.0.4; charset=utf-8$'
    sample body 'segmenter_up{namespace="exporter_http"}' 1
    sample body 'segmenter_dead_letters{namespace="exporter_http",stream="orders",group="rejects"}' 4
    sample body 'segmenter_exporter_collections_total{namespace="exporter_http"}' 1
    lacks body '^# EOF'
    scrape /metrics 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5'
    has head '^Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8$'
    has body '^# TYPE segmenter_group_rebalances counter$'
    has body '^# TYPE segmenter_server info$'
    [ "$(tail -n 1 body)" = "# EOF" ] || fail "no end"
    answers 200 / && has body 'href="metrics"' || fail "no page"
    answers 200 /livez && answers 200 /readyz || fail "not alive and ready"
    answers 404 /nowhere && answers 404 /metrics/ || fail "something is where nothing should be"
    for method in POST PUT DELETE OPTIONS; do
        "$PEER" http "$at" $method /metrics >answer
        has answer '^HTTP/1.1 405 '
        has answer '^Allow: GET, HEAD'
    done
    "$PEER" http "$at" HEAD /metrics >answer
    has answer '^HTTP/1.1 200 '
    lacks answer '^segmenter_up'
    # A head that is too long is no reason to end.
    "$PEER" http "$at" GET "/metrics" "$(head -c 40000 /dev/zero | tr '\0' x)" >answer
    lacks answer '^HTTP/1.1 200 '
    answers 200 /livez || fail "a long head ended it"
    finish_exporter
    [ ! -s exporter.out.err ] || fail "it complained: $(cat exporter.out.err)"
}

# Scrapes that come at the same time are one collection; as are those within the interval.
case_exporter_at_once() {
    expect 0 segmenter stream create orders -p 1
    start exporter.out exporter --listen 127.0.0.1:0 --interval 1h
    exporter=$child
    eventually 30 lines exporter.out 1
    at=$(sed -n 's,^http://\([^/]*\)/metrics$,\1,p' exporter.out)
    scrapers=
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        "$PEER" http "$at" GET /metrics >at$i &
        scrapers="$scrapers $!"
    done
    for pid in $scrapers; do
        wait "$pid" || fail "a scraper got no answer"
    done
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        sample at$i 'segmenter_exporter_collections_total{namespace="exporter_at_once"}' 1
        sample at$i 'segmenter_streams{namespace="exporter_at_once"}' 1
    done
    finish_exporter
}

# An address that others reach is told; IPv6 where there is some.
case_exporter_addresses() {
    start all.out exporter --listen :0
    eventually 30 lines all.out 1
    has all.out '^http://(\[::\]|0\.0\.0\.0):[0-9]+/metrics$'
    at=127.0.0.1:$(sed 's/.*:\([0-9]*\).metrics/\1/' all.out)
    answers 200 /livez || fail "not on every address"
    has all.out.err 'no password and no TLS'
    kill -INT "$child"
    ended "$child" 0
    if [ -e /proc/net/if_inet6 ] && grep -q ' lo$' /proc/net/if_inet6; then
        start six.out exporter --listen '[::1]:0'
        eventually 30 lines six.out 1
        at=$(sed -n 's,^http://\([^/]*\)/metrics$,\1,p' six.out)
        answers 200 /livez || fail "not on [::1]"
        [ ! -s six.out.err ] || fail "a loopback address, and it warns: $(cat six.out.err)"
        kill -HUP "$child"
        ended "$child" 0
    fi
}

is_up() {
    scrape /metrics
    grep -q "^segmenter_up{.*} $1\$" body
}

# The server is away at first, comes, goes, and comes back.
case_exporter_server_away() {
    SEGMENTER_URL=unix://$PWD/away/redis.sock
    export_with --timeout 2s
    eventually 30 answers 503 /readyz
    has body 'away/redis.sock'
    answers 200 /livez || fail "not alive"
    # It is known to be away: nobody has to wait to be told so.
    from=$(date +%s%3N)
    for _ in 1 2 3 4 5; do
        is_up 0 || fail "up without a server"
    done
    [ $(($(date +%s%3N) - from)) -lt 8000 ] || fail "five scrapes took longer than one may take"
    lacks body '^segmenter_stream'
    has exporter.out.err 'the server is away: .*; trying again$'
    for round in 1 2; do
        start url server --dir away
        server=$child
        eventually 60 answers 200 /readyz
        [ $round = 2 ] || expect 0 segmenter stream create orders -p 2
        is_up 1 || fail "not up with a server"
        sample body 'segmenter_streams{namespace="exporter_server_away"}' 1
        kill -TERM "$server"
        ended "$server" 0
        eventually 30 is_up 0
        lacks body '^segmenter_stream'
        eventually 30 answers 503 /readyz
    done
    # Each change is told once, however often it tried in between.
    [ "$(grep -c 'the server is away' exporter.out.err)" -eq 3 ] || fail "told $(cat exporter.out.err)"
    [ "$(grep -c 'the server is back' exporter.out.err)" -eq 2 ] || fail "told $(cat exporter.out.err)"
    finish_exporter
}

# Why it is away is for everybody to read, the password is not.
case_exporter_password() {
    SEGMENTER_URL="unix://me:hunter2-secret@$PWD/nowhere/hunter2-secret.sock"
    manager "$PWD/socket"
    NOTIFY_SOCKET=$PWD/socket
    export NOTIFY_SOCKET
    export_with
    eventually 30 hears 'STATUS=the server is away: .*'
    answers 503 /readyz || fail "ready"
    has body 'nowhere/\*\*\*\.sock'
    is_up 0 || fail "up without a server"
    finish_exporter
    cat body head answer heard exporter.out exporter.out.err >all
    lacks all hunter2
}

# A server that hangs is a scrape that says so in time, and an end in time.
case_exporter_server_hangs() {
    start url server --dir hangs
    eventually 30 lines url 1
    SEGMENTER_URL=$(cat url)
    expect 0 segmenter stream create orders -p 2
    redis=$("$PEER" redis hangs/redis.sock INFO server | tr -d '\r' | sed -n 's/^process_id://p')
    export_with --timeout 300ms
    eventually 30 is_up 1
    kill -STOP "$redis"
    children="$children $redis"
    is_up 0 || fail "up, and nobody answered"
    eventually 30 answers 503 /readyz
    has body '.'
    answers 200 /livez || fail "not alive"
    # Whoever comes later need not wait again for what hangs already, and all get an answer.
    is_up 0 || fail "up, and nobody answered"
    kill -CONT "$redis"
    eventually 30 is_up 1
    eventually 30 answers 200 /readyz
    kill -STOP "$redis"
    is_up 0 || fail "up, and nobody answered"
    finish_exporter
    kill -CONT "$redis"
}

# A stream that is asked for by its name and is not there is said once, and shown.
case_exporter_missing() {
    n='namespace="exporter_missing"'
    expect 0 segmenter stream create orders -p 1
    expect 0 segmenter exporter --once
    lacks out '^segmenter_stream_missing'
    expect 0 segmenter exporter --once -s orders -s ordres
    sample out "segmenter_stream_missing{$n,stream=\"orders\"}" 0
    sample out "segmenter_stream_missing{$n,stream=\"ordres\"}" 1
    has err "^segmenter exporter: there is no stream 'ordres' in namespace 'exporter_missing': segmenter_stream_missing is 1$"
    export_with -s orders -s ordres
    for _ in 1 2 3; do
        scrape /metrics
        sample body "segmenter_stream_missing{$n,stream=\"ordres\"}" 1
    done
    expect 0 segmenter stream create ordres -p 1
    scrape /metrics
    sample body "segmenter_stream_missing{$n,stream=\"ordres\"}" 0
    scrape /metrics
    finish_exporter
    [ "$(grep -c 'stream .ordres.' exporter.out.err)" -eq 2 ] || fail "not told once each: $(cat exporter.out.err)"
    has exporter.out.err "stream 'ordres' in namespace 'exporter_missing' is there now$"
}

# What is lost is absent, and what is not is still told.
case_exporter_damaged() {
    some_groups
    socket=${SEGMENTER_URL#unix://}
    expect 0 segmenter stream create whole -p 1
    echo one | expect 0 segmenter produce whole
    expect 0 segmenter group seek g -s whole --to start --execute
    "$PEER" redis "$socket" DEL 'sg:{exporter_damaged/orders/0}:state' >answer
    has answer '^:1'
    expect 0 segmenter exporter --once --partitions 100
    n='namespace="exporter_damaged",stream="orders"'
    sample out "segmenter_stream_damaged{$n}" 1
    sample out "segmenter_group_damaged{$n,group=\"waits\"}" 1
    sample out "segmenter_stream_partitions{$n}" 2
    sample out "segmenter_group_members{$n,group=\"waits\"}" 0
    for metric in stream_messages stream_appended_total; do
        lacks out "^segmenter_$metric{$n}"
    done
    for metric in lag_messages lag_seconds fill_ratio in_flight_messages attempts_max; do
        lacks out "^segmenter_group_$metric{$n,group=\"waits\"}"
    done
    lacks out "^segmenter_group_partition_lag_messages{$n,group=\"waits\",partition=\"0\"}"
    has out "^segmenter_group_partition_lag_messages{$n,group=\"waits\",partition=\"1\"}"
    lacks out '(18446744073709551615|1\.8446|nan|NaN|-1)$'
    sample out 'segmenter_group_lag_messages{namespace="exporter_damaged",stream="whole",group="g"}' 1
    "$PEER" redis "$socket" SET 'sg:{exporter_damaged/whole}:meta' x >answer
    expect 0 segmenter exporter --once
    sample out 'segmenter_stream_damaged{namespace="exporter_damaged",stream="whole"}' 1
    lacks out 'segmenter_stream_partitions{.*stream="whole"'
}

# Dead letters go by the names of their group, also where those have dots, and where the group is gone.
case_exporter_dead_letters() {
    n='namespace="exporter_dead_letters"'
    expect 0 segmenter stream create a.b -p 1
    printf '1\n2\n3\n' | expect 0 segmenter produce a.b
    expect 0 segmenter consume a.b -g c.d -n 3 --exec 'exit 65'
    expect 0 segmenter exporter --once
    sample out "segmenter_dead_letters{$n,stream=\"a.b\",group=\"c.d\"}" 3
    [ "$(grep -c '^segmenter_dead_letters' out)" -eq 1 ] || fail "told twice"
    lacks out 'group="dlq"'
    sample out "segmenter_stream_messages{$n,stream=\"a.b.c.d.dlq\"}" 3
    # One out of the middle is gone, though the group "dlq" has committed nothing yet.
    expect 0 segmenter dlq drop a.b -g c.d 0:1 --yes
    expect 0 segmenter exporter --once
    sample out "segmenter_dead_letters{$n,stream=\"a.b\",group=\"c.d\"}" 2
    expect 0 segmenter group rm c.d -s a.b --yes
    expect 0 segmenter exporter --once
    sample out "segmenter_dead_letters{$n,stream=\"a.b.c\",group=\"d\"}" 2
    expect 0 segmenter stream create x.dlq -p 1
    expect 0 segmenter group seek dlq -s x.dlq --to start --execute
    expect 0 segmenter exporter --once
    sample out "segmenter_group_members{$n,stream=\"x.dlq\",group=\"dlq\"}" 0
}

case_exporter_many_groups() {
    expect 0 segmenter stream create orders -p 1
    echo one | expect 0 segmenter produce orders
    "$PEER" groups "$SEGMENTER_URL" exporter_many_groups orders 1000 || fail "no groups"
    expect 0 segmenter exporter --once
    [ "$(grep -c '^segmenter_group_lag_messages{.*} 1$' out)" -eq 1000 ] || fail "not 1000 groups"
    [ "$(grep -c '^segmenter_group_lag_seconds{' out)" -eq 1000 ] || fail "not 1000 ages"
    sample out 'segmenter_scrape_groups_skipped{namespace="exporter_many_groups"}' 0
    export_with --describe 10
    scrape /metrics
    [ "$(grep -c '^segmenter_group_lag_messages{.*} 1$' body)" -eq 1000 ] || fail "not 1000 groups"
    [ "$(grep -c '^segmenter_group_lag_seconds{' body)" -eq 10 ] || fail "not 10 ages"
    finish_exporter
}

# More clients than it takes, each of them alive but slow, hold up nobody.
case_exporter_slow_clients() {
    expect 0 segmenter stream create orders -p 1
    export_with
    "$PEER" slow "$at" 300 >slow.out 2>&1 &
    slow=$!
    children="$children $slow"
    eventually 60 lines slow.out 1
    # Not only after 5 s, when they are cut off.
    from=$(date +%s%3N)
    is_up 1 || fail "no scrape"
    [ $(($(date +%s%3N) - from)) -lt 4000 ] || fail "the scrape had to wait for them"
    answers 200 /livez || fail "not alive"
    wait "$slow" || fail "they were not cut off"
    finish_exporter
}

# ---- The service manager -----------------------------------------------------------------------------

# manager ADDRESS: its socket; what it hears is in `heard`.
manager() {
    "$PEER" notify "$1" >heard 2>&1 &
    children="$children $!"
    eventually 30 lines heard 1
}

hears() {
    grep -q "^$1\$" heard
}

# notified ADDRESS ARGS...: start() with the variables of a service manager; its watchdog waits for 200 ms.
notified() {
    address=$1
    shift
    : >service.out
    env --default-signal=INT,QUIT NOTIFY_SOCKET="$address" sh -c \
        'WATCHDOG_USEC=200000 WATCHDOG_PID=$$ exec "$@"' sh "$SEGMENTER" "$@" >service.out 2>service.err &
    service=$!
    children="$children $service"
}

pings() {
    [ "$(grep -c '^WATCHDOG=1$' heard)" -ge "$1" ]
}

case_notify_exporter() {
    manager "$PWD/socket"
    notified "$PWD/socket" exporter --listen 127.0.0.1:0
    eventually 30 hears READY=1
    eventually 30 hears 'STATUS=the server answers'
    eventually 30 pings 5
    hears STOPPING=1 && fail "stopping without a signal"
    kill -TERM "$service"
    ended "$service" 0
    eventually 10 hears STOPPING=1
    [ "$(grep -c READY=1 heard)" -eq 1 ] || fail "ready more than once"
}

case_notify_consume() {
    expect 0 segmenter stream create orders -p 1
    manager "@sgcli.$$"
    notified "@sgcli.$$" consume orders -g g --member m
    eventually 30 hears READY=1
    owns orders g m || has_members orders g 1 || fail "ready, and not in the group"
    has heard '^STATUS=member m of group g$'
    eventually 30 pings 5
    kill -TERM "$service"
    ended "$service" 0
    eventually 10 hears STOPPING=1
}

# Not a message is read by anybody: the loop hangs at it, and the pings end.
case_notify_consume_hangs() {
    expect 0 segmenter stream create orders -p 1
    mkfifo pipe
    manager "$PWD/socket"
    : >service.err
    exec 9<>pipe
    env NOTIFY_SOCKET="$PWD/socket" sh -c 'WATCHDOG_USEC=200000 WATCHDOG_PID=$$ exec "$@"' \
        sh "$SEGMENTER" consume orders -g g >pipe 2>service.err 9>&- &
    service=$!
    children="$children $service"
    eventually 30 pings 3
    head -c 400000 /dev/zero | tr '\0' x | fold -w 1000 | expect 0 segmenter produce orders
    eventually 30 silent
    kill -KILL "$service"
    exec 9>&-
}

# No ping within a second, in which ten are due: nothing else tells that something does not come.
silent() {
    before=$(grep -c WATCHDOG heard)
    from=$(date +%s%3N)
    while [ $(($(date +%s%3N) - from)) -lt 1000 ]; do
        [ "$(grep -c WATCHDOG heard)" -eq "$before" ] || return 1
    done
}

# A command that handles messages is no service of the manager's.
case_notify_exec() {
    expect 0 segmenter stream create orders -p 1
    echo one | expect 0 segmenter produce orders
    manager "$PWD/socket"
    notified "$PWD/socket" consume orders -g g --exec 'env >environment.new; mv environment.new environment'
    eventually 30 test -e environment
    lacks environment '^(NOTIFY_SOCKET|WATCHDOG_USEC|WATCHDOG_PID)='
    has environment '^SEGMENTER_STREAM=orders$'
    eventually 30 pings 5
    kill -TERM "$service"
    ended "$service" 0
    eventually 10 hears STOPPING=1
}

# Somebody else's watchdog, no watchdog, and nobody who listens.
case_notify_others() {
    expect 0 segmenter stream create orders -p 1
    manager "$PWD/socket"
    env NOTIFY_SOCKET="$PWD/socket" WATCHDOG_USEC=1000 WATCHDOG_PID=1 \
        "$SEGMENTER" consume orders -g g --idle-exit 300ms >out 2>err
    eventually 10 hears STOPPING=1
    lacks heard WATCHDOG
    for address in "$PWD/nowhere" relative "$(head -c 200 /dev/zero | tr '\0' /)" @ ''; do
        echo one | segmenter produce orders
        expect 0 env NOTIFY_SOCKET="$address" "$SEGMENTER" consume orders -g g -n 1
        [ "$(cat out)" = one ] || fail "with NOTIFY_SOCKET='$address' it wrote $(cat out)"
    done
}
