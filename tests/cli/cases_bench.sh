# cases_bench.sh - the cases about segmenter bench: that it measures what it says, and leaves nothing
# behind. How fast anything is, is not tested. They are written like those in cases.sh.

# figure NAME UNIT: out has the line of that figure, with a number.
figure() {
    has out "^\{\"v\":1,\"figure\":\"$1\",\"unit\":\"$2\",\"ours\":-?[0-9]"
}

# compared NAME UNIT: and one with a baseline, a ratio, and what was spent for each message.
compared() {
    has out "^\{\"v\":1,\"figure\":\"$1\",\"unit\":\"$2\",\"ours\":[0-9.e+-]+,\"baseline\":[0-9.e+-]+,\"ratio\":[0-9.e+-]+,\"runs\":[0-9]+,\"server_us\":[0-9.e+-]+,\"client_us\":[0-9.e+-]+,\"baseline_server_us\":"
}

# No stream of ours is left in the namespace, and no key at all of a benchmark, where there is a tool
# that can tell.
leaves_nothing() {
    expect 0 segmenter stream ls --json
    [ ! -s out ] || fail "streams are left behind: $(cat out)"
    for tool in redis-cli valkey-cli; do
        if command -v $tool >/dev/null; then
            $tool -s "${SEGMENTER_URL#unix://}" --scan --pattern "*bench-*" >keys
            ! grep -q . keys || fail "keys are left behind: $(cat keys)"
            return
        fi
    done
}

case_bench_produce() {
    expect 0 segmenter bench produce --messages 2000 --runs 2 --json
    compared produce_100B msg/s
    compared produce_ceiling_100B msg/s
    figure memory_100B B/msg
    figure batch_100B msg
    has out '"runs":2,.*"partitions":16,"clients":1,"codec":"plain"'
    expect 0 segmenter bench produce --messages 2000 --runs 1 --size 1024 --payload random --clients 3 \
        --partitions 5 --keys 7 --batch-bytes 4096 --linger 1ms
    [ "$(wc -l <out)" -eq 6 ] || fail "expected a line, a heading and four figures"
    has out '^produce: 2000 messages, 1024 bytes each, 7 keys, 5 partitions, 3 clients, 1 run, (redis|valkey) [0-9]'
    has out '^produce_1KB +msg/s +[0-9.]+ +[0-9.]+ +[0-9.]+x +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+$'
    leaves_nothing
}

case_bench_consume() {
    # More than the baseline takes of one stream at once.
    expect 0 segmenter bench consume --messages 5000 --runs 1 --partitions 2 --json
    compared consume_100B msg/s
    expect 0 segmenter bench consume --messages 3000 --runs 2 --clients 2 --json
    [ "$(wc -l <out)" -eq 1 ] || fail "expected one figure"
    compared consume_100B msg/s
    leaves_nothing
}

case_bench_sync() {
    expect 0 segmenter bench sync --messages 500 --runs 1 --json
    compared sync_100B msg/s
    figure sync_p50_100B us
    figure sync_p999_100B us
    expect 0 segmenter bench sync --messages 500 --runs 1 --clients 4 --no-baseline --json
    figure sync_100B msg/s
    lacks out baseline
    leaves_nothing
}

case_bench_e2e() {
    expect 0 segmenter bench e2e --messages 500 --rate 2000 --runs 1 --json
    compared e2e_p50_100B us
    for point in p90 p99 p999 max; do
        figure e2e_${point}_100B us
    done
    leaves_nothing
}

case_bench_rebalance() {
    expect 0 segmenter bench rebalance --rate 1600 --partitions 8 --clients 2 --runs 1 \
        --session-timeout 3s --json
    for change in join leave crash stay; do
        figure rebalance_${change}_gap_p50 ms
        figure rebalance_${change}_gap_p99 ms
    done
    figure rebalance_sender_late_max ms
    has out '"figure":"rebalance_stay_gap_p99","unit":"ms","ours":[0-9.e+-]+,"baseline":'
    leaves_nothing
}

case_bench_idle() {
    expect 0 segmenter bench idle --partitions 32 --duration 300ms --runs 1 --json
    figure idle_server_cpu %
    figure idle_server_cpu_added %
    figure idle_client_cpu %
    figure idle_commands 1/s
    leaves_nothing
}

# Without a URL there is a server of its own, which goes with it. The namespace is its own, too.
case_bench_server() {
    mkdir tmp
    export TMPDIR="$PWD/tmp"
    expect 0 env -u SEGMENTER_URL -u SEGMENTER_NAMESPACE "$SEGMENTER" bench sync --messages 100 --runs 1
    has out '\(private, on a unix socket\)$'
    [ -z "$(ls tmp)" ] || fail "left behind: $(ls tmp)"
    expect 0 env -u SEGMENTER_NAMESPACE "$SEGMENTER" -u "$SEGMENTER_URL?db=2" bench sync --messages 100 --runs 1
    lacks out private
    expect 5 env -u SEGMENTER_URL "$SEGMENTER" bench sync -u unix:///nowhere/redis.sock
    leaves_nothing
}

has_stream() {
    segmenter stream ls | grep -q '^bench-'
}

case_bench_interrupted() {
    mkdir tmp
    export TMPDIR="$PWD/tmp"
    for args in "produce --messages 100000000" "consume --messages 100000000" "sync --messages 10000000" \
        "e2e --messages 10000000" "rebalance --runs 1000" "idle --duration 1h"; do
        # shellcheck disable=SC2086 # several words
        start live.out bench $args
        eventually 60 has_stream
        sleep 0.2
        kill -INT "$child"
        ended "$child" 1
        [ "$(cat live.out.err)" = "segmenter bench ${args%% *}: interrupted" ] ||
            fail "bench $args said: $(cat live.out.err)"
        [ ! -s live.out ] || fail "an interrupted run printed figures: $(cat live.out)"
        leaves_nothing
    done
    env -u SEGMENTER_URL --default-signal=INT "$SEGMENTER" bench produce --messages 100000000 2>private.err &
    child=$!
    children="$children $child"
    eventually 60 private_runs
    kill -INT "$child"
    ended "$child" 1
    [ -z "$(ls tmp)" ] || fail "left behind: $(ls tmp)"
}

private_runs() {
    for socket in tmp/*/redis.sock; do
        [ -S "$socket" ] && segmenter -u "unix://$PWD/$socket" stream ls >/dev/null 2>&1
    done
}
