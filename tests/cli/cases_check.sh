# cases_check.sh - the cases about what operators look with: checks and the doctor. They are written like
# those in cases.sh.

# Times differ from run to run, and with them the widths of columns; and versions do.
without_times() {
    sed -E -e 's/[0-9]+(us|ms)\b/T/g' -e 's/round_trip=[0-9.]+s/round_trip=T/' -e 's/age=[0-9.]+s/age=T/' \
        -e 's/(round_trip","value":)[0-9]+/\1T/' -e 's/(age","value":)[0-9]+/\1T/' \
        -e 's/(oldest|waits for) [0-9.]+m?[0-9]*s/\1 T/' -e 's/^(segmenter_[a-z_]*_seconds\{.*\}) [0-9.]+$/\1 T/' \
        -e 's/(redis|valkey) [0-9.]+/SERVER/' -e 's/^(age|round_trip) +[0-9.]+s/\1 T/' -e 's/([^ ])  +/\1  /g' \
        -e 's/^(age|round_trip) +/\1  /' "$1"
}

# own_server NAME [LINE...]: a server of the case's own with these lines of configuration, on the socket
# NAME.sock. Its pid is in $child.
own_server() {
    name=$1
    shift
    mkdir -p "$name.data"
    { printf 'port 0\nunixsocket %s\ndir %s\nlogfile %s\n' "$PWD/$name.sock" "$PWD/$name.data" "$PWD/$name.log"
        printf '%s\n' "$@"; } >"$name.conf"
    "${SEGMENTER_SERVER:-redis-server}" "$name.conf" >"$name.out" 2>&1 9>&- &
    child=$!
    children="$children $child"
    eventually 30 server_do "$name" PING
}

# server_do NAME WORD...: to a server of own_server.
server_do() {
    socket=$PWD/$1.sock
    shift
    "$(command -v redis-cli || command -v valkey-cli)" -s "$socket" "$@" >/dev/null 2>&1
}

# looks ARGS...: append what a check or the doctor says, and its exit code, to looks.txt.
looks() {
    segmenter "$@" >out 2>err
    code=$?
    { echo "\$ segmenter $*" | sed 's/geheim-[0-9]*@/PASSWORD@/'; without_times out; sed "s|$PWD|DIR|g" err; echo "exit $code"; } |
        sed -e "s|$XDG_CONFIG_HOME|CONFIG|g" -e "s|$PWD|DIR|g" >>looks.txt
}

no_secret() {
    ! grep -q 'geheim' looks.txt out err || fail "the password came out: $(grep -n geheim looks.txt out err)"
}

# ---- Checks ------------------------------------------------------------------------------------------

case_check() {
    expect 0 segmenter stream create orders -p 1 --size 100
    seq 1 90 >numbers
    expect 0 segmenter produce orders numbers
    expect 0 segmenter consume orders -g ended -e
    looks check stream orders
    expect 0 segmenter consume orders -g r -n 5
    for format in text nagios json prometheus; do
        looks check connection --format $format
        looks check stream orders --format $format --fill-warn 84 --fill-critical 85
        looks check stream orders --format $format --fill-warn 85 --fill-critical 90
        looks check group r -s orders --window 0 --format $format --lag-warn 10 --lag-critical 84 --members-min 1
        looks check group ended -s orders --window 0 --format $format --lag-warn 0 --age-critical 1m
        looks check dlq orders -g r --format $format
        looks check group nobody -s orders --format $format
    done
    looks check stream nothing
    looks check dlq orders -g nobody
    looks check dlq nothing -g r
    expect 0 segmenter stream create unread -p 2 --size 10
    looks check stream unread
    golden check.txt looks.txt
}

# A member that lives, and one that ends: its partitions are nobody's.
case_check_members() {
    expect 0 segmenter stream create orders -p 2
    start live.out consume orders -g g --member m
    member=$child
    eventually 30 owns orders g m
    expect 0 segmenter check group g -s orders --members-min 1
    expect 2 segmenter check group g -s orders --members-min 2 --window 0
    has out 'members is 1, less than 2'
    kill -TERM "$member"
    ended "$member" 0
    seq 1 20 | sed 's/.*/key &:value/' >keyed # to both partitions
    expect 0 segmenter produce orders -K : keyed
    expect 2 segmenter check group g -s orders --format nagios
    has out '^SEGMENTER GROUP CRITICAL - partitions 0-1 orphaned: .* lag=20;;;0 age=[0-9.]+s;60;;0 members=0;;;0$'
}

# What has to wait is late, and what nobody acknowledges stands still.
case_check_stalled() {
    expect 0 segmenter stream create orders -p 1
    mkfifo gate
    start live.out consume orders -g g --exec 'read line <gate'
    printf 'one\n' | expect 0 segmenter produce orders
    late() {
        segmenter check group g -s orders --age-warn 1ms --window 1ms >out 2>err
        [ $? -eq 2 ] && grep -q 'partition 0 stalled' out
    }
    eventually 30 late
    has out '; oldest is [0-9.]+m?s, more than 1ms'
    expect 0 segmenter check group g -s orders --window 1ms
}

case_check_dead_letters() {
    expect 0 segmenter stream create orders -p 1
    seq 1 4 | expect 0 segmenter produce orders
    segmenter consume orders -g g -e --exec 'exit 65' >/dev/null 2>&1
    looks check dlq orders -g g
    looks check dlq orders -g g --messages-warn 4
    looks check dlq orders -g g --messages-critical 3 --format nagios
    id=$(segmenter dlq ls orders -g g --json | sed -n '2s/.*"id":"\([^"]*\)".*/\1/p')
    expect 0 segmenter dlq drop orders -g g "$id" --yes
    looks check dlq orders -g g --format prometheus
    expect 0 segmenter dlq drop orders -g g --all --yes
    looks check dlq orders -g g
    golden check-dead-letters.txt looks.txt
}

# Wrong words are unknown, not a warning or critical: monitors must not take them for a state.
case_check_usage() {
    looks check
    looks check nothing
    looks --frobnicate check group
    looks check --frobnicate
    looks check group
    looks check group g
    looks check group g -s 'no good'
    looks check group g -s s --lag-warn many
    looks check group g -s s --lag-warn 10 --lag-critical 5
    looks check group g -s s --age-warn 10m --age-critical 5m
    looks check group g -s s --window 10s
    looks check group g -s s --format xml
    looks check stream s --fill-warn 101
    looks check stream s --timeout 0
    looks check dlq s
    looks -u http://nowhere check connection
    looks -u redis://:geheim-1@nowhere:x check connection
    looks --context nothing check connection
    looks --password-file nothing check connection
    looks produce check --frobnicate
    no_secret
    golden check-usage.txt looks.txt
    expect 3 sh -c '"$SEGMENTER" check connection >/dev/full'
}

# A monitor reads stdout, in its format: also where the check did not begin.
case_check_unknown() {
    for format in nagios json prometheus; do
        looks check group g -s s --format $format --password-file nothing
        looks check dlq s -g g --context nothing --format=$format
        looks check stream s --frobnicate --format $format
        looks check stream s --fill-warn 90 --fill-critical 80 --format $format
        looks check connection --format $format -u http://nowhere
        looks check connection --format $format -u redis://:geheim-2@nowhere:x
        looks check group --format $format
        looks check stream 'no"good' --format $format
        looks --frobnicate check group g -s s --format $format
        looks check nothing --format $format
    done
    looks check stream s --frobnicate --format text
    looks produce check --frobnicate --format nagios
    no_secret
    golden check-unknown.txt looks.txt
    expect 0 segmenter check group --help --format nagios
    lacks out '^SEGMENTER'
}

case_check_away() {
    for format in text nagios json prometheus; do
        looks -u "unix://$PWD/nowhere.sock" check connection --format $format
        looks -u "unix://$PWD/nowhere.sock" check group g -s s --format $format
    done
    looks -u "unix://$PWD/nowhere.sock" check stream s
    looks -u "unix://$PWD/nowhere.sock" check dlq s -g g
    golden check-away.txt looks.txt
    # A server that hangs is told by the library, and whatever else takes too long by the clock.
    own_server hangs
    kill -STOP "$child"
    expect 2 segmenter -u "unix://$PWD/hangs.sock" check connection --timeout 300ms --format nagios
    has out '^SEGMENTER CONNECTION CRITICAL - .*hangs.sock.* within 240 ms( during the handshake)?$'
    expect 0 segmenter stream create s -p 1
    expect 0 segmenter group seek g -s s --to start --execute
    expect 2 segmenter check group g -s s --timeout 500ms --window 499ms --format nagios
    has out '^SEGMENTER GROUP CRITICAL - not done within 500ms$'
    lines out 1 && [ "$(wc -l <out)" -eq 1 ] || fail "more than one line"
}

# rule ARGS...: the least rights, for a server's configuration.
rule() {
    segmenter doctor "$@" 2>/dev/null | sed 's/.* on >PASSWORD //'
}

case_check_rights() {
    own_server s 'save ""' 'user default on >geheim-0 ~* &* +@all' "user looker on >geheim-1 $(rule --acl-read-only)" \
        'user none on >geheim-2 +info'
    own=unix://looker:geheim-1@$PWD/s.sock
    admin=unix://default:geheim-0@$PWD/s.sock
    expect 0 segmenter -u "$admin" stream create orders -p 1
    seq 1 3 | expect 0 segmenter -u "$admin" produce orders
    expect 0 segmenter -u "$admin" consume orders -g g -e
    looks -u "unix://looker@$PWD/s.sock" --password-file secret check connection
    printf 'geheim-1\n' >secret
    looks -u "unix://looker@$PWD/s.sock" --password-file secret check connection
    for what in 'stream orders' 'group g -s orders' 'dlq orders -g g'; do
        # shellcheck disable=SC2086 # words
        expect 0 segmenter -u "$own" check $what
        # shellcheck disable=SC2086
        expect 3 segmenter -u "unix://none:geheim-2@$PWD/s.sock" check $what
        has out '^unknown: '
        # shellcheck disable=SC2086
        expect 3 segmenter -u "unix://looker:geheim-9@$PWD/s.sock" check $what
        has out '^unknown: .* does not accept'
    done
    expect 2 segmenter -u "unix://looker:geheim-9@$PWD/s.sock" check connection
    has out '^critical: connection: .* does not accept'
    expect 0 segmenter -u "unix://none:geheim-2@$PWD/s.sock" check connection
    # What the user may not ask is unknown where it has a threshold.
    expect 0 segmenter -u "unix://none:geheim-2@$PWD/s.sock" check connection --memory-warn 10
    no_secret
    golden check-rights.txt looks.txt
}

case_check_memory() {
    own_server s 'maxmemory 3mb' 'maxmemory-policy noeviction'
    expect 2 segmenter -u "unix://$PWD/s.sock" check connection --memory-critical 1 --format nagios
    has out '^SEGMENTER CONNECTION CRITICAL - memory is [0-9.]+%, more than 1% - .* memory=[0-9.]+%;;1;0;100$'
    expect 1 segmenter -u "unix://$PWD/s.sock" check connection --memory-warn 1 --memory-critical 100
    expect 0 segmenter -u "unix://$PWD/s.sock" check connection --memory-warn 100 --round-trip-critical 1h
    expect 0 segmenter check connection --memory-warn 0
}

# A lag that is not known is not 0.
case_check_damaged() {
    own_server s 'save ""'
    SEGMENTER_URL=unix://$PWD/s.sock
    expect 0 segmenter stream create orders -p 2
    seq 1 10 >numbers
    expect 0 segmenter produce orders numbers
    expect 0 segmenter consume orders -g g -e
    server_do s EVAL 'for _, k in ipairs(redis.call("KEYS", "sg:{check_damaged/orders/1}:*")) do redis.call("DEL", k) end' 0
    for format in text nagios json prometheus; do
        looks check group g -s orders --format $format --lag-warn 5 --window 0
        looks check stream orders --format $format
    done
    looks doctor --columns severity,topic,finding,advice --sort topic
    sed -i '/^ok /d; /^info /d' looks.txt
    golden check-damaged.txt looks.txt
}

# A group that is damaged, or half deleted, is a fault of its own, and hides nothing else.
case_check_damaged_groups() {
    own_server s 'save ""'
    SEGMENTER_URL=unix://$PWD/s.sock
    n='namespace="check_damaged_groups",stream="orders"'
    expect 0 segmenter stream create orders -p 2
    seq 1 10 | expect 0 segmenter produce orders
    for group in half odd whole; do
        expect 0 segmenter group seek $group -s orders --to start --execute
    done
    server_do s DEL 'sg:{check_damaged_groups/orders}:group:half'
    server_do s HSET 'sg:{check_damaged_groups/orders}:group:odd' epoch x
    expect 0 segmenter exporter --once --partitions 100
    cp out metrics
    for group in half odd; do
        grep -Fxq "segmenter_group_damaged{$n,group=\"$group\"} 1" metrics || fail "$group is not told"
        lacks metrics "^segmenter_group_(members|lag_seconds)\{.*group=\"$group\""
        expect 2 segmenter check group $group -s orders --window 0
        has out "^critical: group $group of stream orders: "
    done
    for line in "segmenter_group_damaged{$n,group=\"whole\"} 0" "segmenter_group_lag_messages{$n,group=\"whole\"} 10" \
        "segmenter_stream_messages{$n} 10"; do
        grep -Fxq "$line" metrics || fail "no '$line'"
    done
    expect 2 segmenter check stream orders
    has out '^critical: stream orders: group (odd|half) and 1 more are damaged \(slowest: group whole in partition [01]\)$'
    has out '^fill  .* ok$'
    expect 1 segmenter doctor --columns topic,finding,advice --csv
    has out '^damage,"?group half of stream orders: its state makes no sense'
    has out '^damage,"?group odd of stream orders: its state makes no sense'
    has out ',"?group whole of stream orders has no member, and 10 messages wait'
    # What it advises works.
    grep '^damage,' out | grep -o 'segmenter group rm [a-z]* -s orders --yes -N [a-z_]*' >advice
    lines advice 2 || fail "no advice: $(cat out)"
    while read -r _ words; do
        expect 0 segmenter $words
    done <advice
    expect 0 segmenter check stream orders
    expect 0 segmenter exporter --once
    lacks out '^segmenter_group_damaged\{.*\} 1$'
}

# ---- Doctor ------------------------------------------------------------------------------------------

# found NAME: what the doctor says of the server NAME, but for its version, to looks.txt.
found() {
    looks -u "unix://$PWD/$1.sock" doctor --columns severity,topic,finding
    sed -i '/ version  */d' looks.txt
}

case_doctor() {
    expect 0 segmenter stream create orders -p 1 --size 10
    looks doctor
    awk '/^[^ ]/ { skip = / version:/ } !skip' looks.txt >printed
    golden doctor.txt printed
    printf '' >looks.txt
    seq 1 9 | expect 0 segmenter produce orders
    looks doctor --json
    expect 0 segmenter consume orders -g slow -n 1
    expect 0 segmenter stream create letters -p 1
    seq 1 2 | expect 0 segmenter produce letters
    segmenter consume letters -g g -e --exec 'exit 65' >/dev/null 2>&1
    looks doctor --columns severity,topic,finding,why,advice --csv
    looks doctor --acl extra
    looks doctor extra
    looks doctor --acl --acl-read-only
    looks doctor --acl --json
    looks doctor --acl-read-only --sort topic
    looks doctor --acl 'no good'
    expect 1 segmenter produce orders --delivery-timeout 10ms <<END
one
two
three
END
    looks doctor --columns topic,finding
    sed -i -E '/(^|[", ])version[", ]/d' looks.txt
    golden doctor-streams.txt looks.txt
    expect 5 segmenter -u "unix://$PWD/nowhere.sock" doctor
    [ ! -s out ] || fail "found something on a server that is away"
    expect 5 segmenter -u "unix://$PWD/nowhere.sock" doctor --json
    has err '^\{"error":\{"code":"ECONN"'
}

case_doctor_servers() {
    own_server none 'save ""'
    found none
    own_server snapshots 'save 60 10' 'timeout 100' 'tcp-keepalive 0' 'proto-max-bulk-len 1mb' \
        'client-query-buffer-limit 10mb' 'client-output-buffer-limit normal 1mb 0 0' 'busy-reply-threshold 10' \
        'maxmemory-policy allkeys-lru'
    found snapshots
    own_server everysec 'appendonly yes' 'save ""' 'appendfsync everysec' 'maxmemory 100mb' 'no-appendfsync-on-rewrite yes'
    found everysec
    own_server always 'appendonly yes' 'save ""' 'appendfsync always' 'maxmemory 100mb' 'maxclients 10'
    found always
    own_server never 'appendonly yes' 'save ""' 'appendfsync no' 'maxmemory 100mb'
    found never
    own_server alone 'save ""' 'min-replicas-to-write 2'
    found alone
    # Those that the library refuses.
    own_server evicts 'save ""' 'maxmemory 100mb' 'maxmemory-policy allkeys-lru'
    found evicts
    own_server forgets 'appendonly yes' 'user default on nopass ~* &* +@all -xsetid'
    found forgets
    golden doctor-servers.txt looks.txt
}

# An RDB that cannot be saved.
case_doctor_disk() {
    own_server s 'save ""' 'maxmemory 100mb' 'dbfilename dump.rdb'
    rm -r s.data
    segmenter -u "unix://$PWD/s.sock" stream create orders -p 1 >/dev/null
    server_do s BGSAVE
    failed() {
        segmenter -u "unix://$PWD/s.sock" doctor >out 2>err
        grep -q 'error *persistence: the last RDB could not be saved' out
    }
    eventually 30 failed
}

# A replica needs a port: one that the kernel does not know of is tried until one is free.
case_doctor_replica() {
    for try in 1 2 3 4 5 6 7 8 9; do
        port=$((20000 + ($$ * 7 + try * 1013) % 12000))
        mkdir -p primary.data
        printf 'port %d\nbind 127.0.0.1\nunixsocket %s\ndir %s\nsave ""\nmaxmemory 100mb\n' $port \
            "$PWD/primary.sock" "$PWD/primary.data" >primary.conf
        "${SEGMENTER_SERVER:-redis-server}" primary.conf >primary.out 2>&1 &
        primary=$!
        children="$children $primary"
        until [ -S primary.sock ] || ! is_alive "$primary"; do sleep 0.05; done
        [ ! -S primary.sock ] || break
    done
    own_server replica 'save ""' "replicaof 127.0.0.1 $port"
    online() {
        segmenter -u "unix://$PWD/primary.sock" doctor >out 2>err
        grep -q 'ok *replication: 1 replica' out && ! grep -q 'not online' out
    }
    eventually 60 online
    found primary
    server_do primary CONFIG SET min-replicas-to-write 1
    found primary
    golden doctor-replica.txt looks.txt
    expect 1 segmenter -u "unix://$PWD/replica.sock" doctor
    has out '^error +server: .* is a read-only'
    expect 2 segmenter -u "unix://$PWD/replica.sock" check connection --timeout 1s
    has out 'read-only replica'
}

case_doctor_rights() {
    all=$(rule --acl)
    own_server s 'save ""' 'maxmemory 100mb' 'user default on >geheim-0 ~* &* +@all' \
        "user app on >geheim-1 $all" "user looker on >geheim-1 $(rule --acl-read-only)" \
        "user deaf on >geheim-1 $(echo "$all" | sed 's/ &[^ ]*//')" \
        "user weak on >geheim-1 $(echo "$all" | sed 's/ +xadd\b//; s/ +hgetall\b//')" \
        'user blind on >geheim-1 +info'
    expect 0 segmenter -u "unix://default:geheim-0@$PWD/s.sock" stream create orders -p 1
    for user in app looker deaf weak blind; do
        looks -u "unix://$user:geheim-1@$PWD/s.sock" doctor --columns severity,topic,finding,advice
    done
    sed -i '/ version  */d; s/ +xgroup.*/ .../' looks.txt
    no_secret
    golden doctor-rights.txt looks.txt
    expect 5 segmenter -u "unix://app:geheim-9@$PWD/s.sock" doctor
    expect 5 segmenter -u "unix://$PWD/s.sock" doctor
    lacks err geheim
    # The rule, as it is printed, is taken by a server, and is enough.
    expect 0 segmenter doctor --acl app
    has out '^ACL SETUSER app on >PASSWORD clearselectors resetkeys resetchannels -@all ~sg:\{doctor_rights\}:\*'
    has err 'put a password in the place of PASSWORD'
    expect 0 segmenter -N other doctor --acl-read-only
    has out '^ACL SETUSER segmenter on >PASSWORD .* ~sg:\{other\}:\*'
    lacks out '\+xadd'
    seq 1 5 | expect 0 segmenter -u "unix://app:geheim-1@$PWD/s.sock" produce orders
    expect 0 segmenter -u "unix://app:geheim-1@$PWD/s.sock" consume orders -g g -e
    lines out 5
}

# owns_one STREAM GROUP: a member of the group owns a partition.
owns_one() {
    segmenter group describe "$2" -s "$1" --window 0 --json | grep -q '"owner":"'
}

# Who reads no more, who is behind, and who only waits for its start.
case_doctor_groups() {
    own_server s 'save ""' 'maxmemory 100mb'
    SEGMENTER_URL=unix://$PWD/s.sock
    expect 0 segmenter stream create orders -p 1
    printf '{"value":"old","ts_ms":1732000000000}\n{"value":"older","ts_ms":1731000000000}\n' >messages
    expect 0 segmenter produce orders -J messages
    expect 0 segmenter group seek left -s orders --to start --execute
    expect 0 segmenter group seek gone -s orders --to end --execute
    mkfifo gate
    start live.out consume orders -g behind --exec 'read line <gate'
    eventually 30 owns_one orders behind
    expect 0 segmenter stream create fresh -p 1
    printf 'new\n' | expect 0 segmenter produce fresh
    expect 0 segmenter group seek later -s fresh --to start --execute
    looks doctor --columns severity,topic,finding,advice
    sed -i -E '/^(ok|info  (version|rights|replication)|warning  persistence) /d; s/waits for [0-9]+d[0-9]+h/waits for T/' looks.txt
    golden doctor-groups.txt looks.txt
    expect 2 segmenter check group left -s orders --age-critical 1h --window 0 --format nagios
    has out 'oldest is [0-9]+d[0-9]+h, more than 1h - lag 2, oldest .* age=[0-9.]+s;60;3600;0 '
}
