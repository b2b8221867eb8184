# cases_look.sh - looking: listings, contexts, what is said as JSON, completions, man pages.

# ---- Listings ----------------------------------------------------------------------------------------

# recorded NAME ARGS...: append the command line and what it printed to a file.
recorded() {
    file=$1
    shift
    expect 0 segmenter "$@"
    { echo "\$ segmenter $*"; steady; } >>"$file"
}

case_listing_forms() {
    expect 0 segmenter stream create b -p 2 --size 10
    expect 0 segmenter stream create a -p 1 --size 30 --on-full reject
    printf '1\n2\n3\n' | expect 0 segmenter produce a
    recorded forms.txt stream ls --columns stream,messages,max_messages
    recorded forms.txt stream ls --columns stream,max_messages --sort max_messages
    recorded forms.txt stream ls --columns stream,max_messages --sort -max_messages --json
    recorded forms.txt stream ls --columns on_full,stream --csv --sort -stream
    recorded forms.txt stream info b --partitions --json
    recorded forms.txt stream info b --columns partition,SLOT
    recorded forms.txt group ls --csv
    recorded forms.txt group ls
    recorded forms.txt group ls --json
    golden forms.txt forms.txt
    for args in "--columns nothing" "--columns stream,stream" "--columns stream," "--sort -nothing" \
        "--json --csv"; do
        # shellcheck disable=SC2086 # several words
        usage stream ls $args
    done
    golden forms-usage.txt usage.txt
    # On a terminal it fits, with colours unless NO_COLOR forbids them.
    long=$(printf '%0150d' 0)
    expect 0 segmenter stream create "$long" -p 1
    on_terminal 80 "$SEGMENTER stream where $long some-very-long-key-that-does-not-fit-a-terminal-of-eighty"
    sed 's/…/./g' screen | awk 'length($0) > 80 { exit 1 }' || fail "a line is wider than the terminal: $(cat screen)"
    on_terminal 80 "$SEGMENTER stream ls --columns status"
    has screen "$(printf '\033\\[32mok')"
    on_terminal 80 "env NO_COLOR=1 $SEGMENTER stream ls --columns status"
    lacks screen "$(printf '\033')"
}

# on_terminal WIDTH COMMAND: what it writes to a terminal of that width, in the file screen.
on_terminal() {
    TERM=xterm script -qec "stty cols $1 rows 24; $2" screen.raw >/dev/null </dev/null
    tr -d '\r' <screen.raw | grep -v '^Script ' >screen
}

# A table that is too wide goes without what can be spared, and says where a text is cut.
case_listing_fits() {
    expect 0 segmenter stream create orders -p 2
    printf 'a:1\nb:2\n' | expect 0 segmenter produce orders -K :
    start held.out consume orders -g readers --member a-member-with-a-long-name-on-some-host
    eventually 20 owns orders readers a-member-with-a-long-name-on-some-host
    for width in 200 90 80 60; do
        for command in "group describe readers -s orders --window 0" "top --once -d 100ms" "stream ls"; do
            on_terminal $width "env NO_COLOR=1 $SEGMENTER $command"
            sed 's/…/./g' screen | awk -v w=$width 'length($0) > w { exit 1 }' ||
                fail "$command at $width columns: $(cat screen)"
            has screen STATUS
        done
    done
    on_terminal 80 "$SEGMENTER group describe readers -s orders --window 0"
    has screen 'a-member-w.*…'
    lacks screen EPOCH
    on_terminal 80 "$SEGMENTER group describe readers -s orders --window 0 --columns partition,epoch,owner"
    has screen EPOCH
}

# Keys are anybody's: tables, CSV and JSON each show them in a way that does no harm.
case_listing_hostile() {
    expect 0 segmenter stream create orders -p 1
    key=$(printf 'a\033[31m,"b"\n\377')
    for form in "" --csv --json; do
        # shellcheck disable=SC2086 # one word or none
        expect 0 segmenter stream where orders "$key" --columns key $form
        cat out >>all
    done
    lacks all "$(printf '\033')"
    has all '^a\?\[31m,"b"\?\?$'
    has all '^base64:YRtbMzFtLCJiIgr/$'
    has all '"key_b64":"YRtbMzFtLCJiIgr/"'
    expect 0 segmenter stream where orders 'a,"b"' --csv --columns key,partition
    has out '^"a,""b""",0$'
}

case_where() {
    expect 0 segmenter stream create orders -p 8
    recorded where.txt stream where orders ann
    expect 0 segmenter group seek readers -s orders --to start --execute
    start held.out consume orders -g readers --member m1
    eventually 20 owns orders readers m1
    recorded where.txt stream where orders ann --json
    recorded where.txt stream where orders '' --columns partition,hash,owner
    sed -i 's/"slot":[0-9]*/"slot":SLOT/; s/  *[0-9]*  -      -      -      -$/ SLOT/' where.txt
    golden where.txt where.txt
    expect 3 segmenter stream where orders ann -g nobody
    expect 3 segmenter stream where nowhere ann
    # It is where the messages go.
    printf 'ann:x\n' | expect 0 segmenter produce orders -K :
    expect 0 segmenter consume orders -g other -n 1 -f '%p\n'
    place=$(cat out)
    expect 0 segmenter stream where orders ann -g other --columns partition --csv
    [ "$(tail -n 1 out)" = "$place" ] || fail "it went to partition $place"
}

# ---- Health -------------------------------------------------------------------------------------------

# is STATUS ARGS...: group describe says so of the group.
is() {
    wanted=$1
    shift
    segmenter group describe "$@" --json | grep -q "\"status\":\"$wanted\",\"epoch\""
}

case_health() {
    expect 0 segmenter stream create jobs -p 1
    printf 'k:1\nk:2\n' | expect 0 segmenter produce jobs -K :
    start stuck.out consume jobs -g slow --member m1 --session-timeout 1s --max-attempts 0 \
        --exec 'while kill -0 $PPID; do sleep 0.1; done 2>/dev/null'
    pid=$child
    eventually 20 owns jobs slow m1
    is ok slow -s jobs --window 0 || fail "not ok: $(segmenter group describe slow -s jobs)"
    is warn slow -s jobs --window 0 --age-warn 0 || fail "an old message is no warning"
    is stalled slow -s jobs --window 100ms --age-warn 0 || fail "no progress is not stalled"
    # A seek while it is watched.
    expect 0 segmenter group seek slow -s jobs --to end --execute --while-active
    start watched top -s jobs -g slow -d 100ms
    watcher=$child
    eventually 20 lines watched 2
    expect 0 segmenter group seek slow -s jobs --to start --execute --while-active
    eventually 20 grep -q rewound watched
    kill -TERM "$watcher"
    ended "$watcher" 0
    kill -KILL "$pid"
    eventually 30 is orphaned slow -s jobs --window 0
    # Data that is missing makes the lag unknown, never 0.
    raw DEL "sg:{$SEGMENTER_NAMESPACE/jobs/0}:state"
    expect 0 segmenter group describe slow -s jobs --window 0
    { echo "\$ segmenter group describe slow -s jobs --window 0"; sed 's/ [0-9]*  -      damaged/ N  -      damaged/' out; } >health.txt
    expect 0 segmenter group describe slow -s jobs --window 0 --json
    { echo "\$ segmenter group describe slow -s jobs --window 0 --json"; sed 's/"epoch":[0-9]*/"epoch":N/g' out; } >>health.txt
    recorded health.txt group ls
    recorded health.txt stream info jobs --json
    recorded health.txt stream ls --columns stream,messages,status
    golden health.txt health.txt
}

# raw COMMAND...: straight to the server.
raw() {
    client=$(command -v redis-cli || command -v valkey-cli) || fail "no redis-cli, no valkey-cli"
    "$client" -s "${SEGMENTER_URL#unix://}" "$@" >raw.out 2>&1 || fail "$*: $(cat raw.out)"
}

# ---- Top ----------------------------------------------------------------------------------------------

case_top() {
    expect 0 segmenter stream create orders -p 2
    printf 'a:1\nb:2\nc:3\n' | expect 0 segmenter produce orders -K :
    expect 0 segmenter consume orders -g g -e
    expect 0 segmenter top -n 2 -d 100ms
    { echo "\$ segmenter top -n 2 -d 100ms"; ticks; } >top.txt
    expect 0 segmenter top --once -s orders -g g -d 100ms --json
    { echo "\$ segmenter top --once -s orders -g g -d 100ms --json"; ticks; } >>top.txt
    golden top.txt top.txt
    expect 3 segmenter top -s orders -g nobody --once
    has err 'nobody'
    expect 3 segmenter top -s nowhere --once
    expect 2 segmenter top -g g
    expect 2 segmenter top --csv
    expect 2 segmenter top --json --sort lag
    expect 5 segmenter -u unix:///nowhere/redis.sock top
    # On a terminal it draws, and ends with q or a signal.
    on_terminal 100 "timeout --foreground -s INT 2 $SEGMENTER top -d 200ms -s orders -g g"
    has screen 'PARTITION +COMMITTED'
    has screen 'orders +g +'
    on_terminal 100 "$SEGMENTER top --once -d 100ms"
    has screen '^orders +g +.*ok'
}

ticks() {
    sed -e 's/"at_ms":[0-9]*/"at_ms":TIME/g' -e 's/"between_ms":[0-9][0-9]*/"between_ms":MS/g' out
}

# A server that goes and comes back does not end it.
case_top_outage() {
    start url server --dir "$PWD/own"
    server=$child
    eventually 20 test -s url
    url=$(cat url)
    expect 0 segmenter -u "$url" stream create orders -p 1
    start ticks.out -u "$url" top -d 100ms
    pid=$child
    eventually 20 lines ticks.out 2
    kill "$server"
    ended "$server" 0
    eventually 30 grep -q . ticks.out.err
    before=$(wc -l <ticks.out)
    start url server --dir "$PWD/own"
    server=$child
    eventually 30 lines ticks.out $((before + 2))
    kill -TERM "$pid"
    ended "$pid" 0
    kill "$server"
    ended "$server" 0
}

# ---- Contexts and passwords ---------------------------------------------------------------------------

case_context() {
    XDG_CONFIG_HOME=$PWD/config
    export XDG_CONFIG_HOME
    url=$SEGMENTER_URL
    unset SEGMENTER_URL SEGMENTER_NAMESPACE
    expect 0 segmenter context ls
    expect 0 segmenter context add here -u "$url" -N context
    expect 0 segmenter context add away -u unix:///nowhere/redis.sock
    [ "$(stat -c %a config/segmenter/contexts.json)" = 600 ] || fail "others can read it"
    expect 0 segmenter --context here stream create orders -p 1
    expect 5 segmenter --context away stream ls
    expect 2 segmenter --context nobody stream ls
    has err "no context 'nobody'"
    expect 3 segmenter context select nobody
    expect 0 segmenter context select here
    expect 0 segmenter stream ls --json
    has out '"stream":"orders"'
    # What is said on the command line or in the environment comes first.
    expect 0 segmenter -N elsewhere stream ls --json
    [ ! -s out ] || fail "the namespace is the context's all the same"
    expect 5 segmenter -u unix:///nowhere/redis.sock stream ls
    expect 5 env SEGMENTER_URL=unix:///nowhere/redis.sock "$SEGMENTER" stream ls
    expect 5 env SEGMENTER_CONTEXT=away "$SEGMENTER" stream ls
    expect 0 env SEGMENTER_URL=unix:///nowhere/redis.sock "$SEGMENTER" --context here stream ls
    expect 0 segmenter context ls
    sed "s|$url|URL|; s/  *CONTEXT/CONTEXT/" out | tr -s ' ' >contexts.txt
    expect 0 segmenter context ls --json
    sed "s|$url|URL|" out >>contexts.txt
    expect 0 segmenter context select
    expect 0 segmenter context rm here
    expect 3 segmenter context rm here
    expect 0 segmenter context ls --csv
    cat out >>contexts.txt
    golden contexts.txt contexts.txt
    expect 2 segmenter context add bad -u redis://me:secret@h
    expect 2 segmenter context add bad -u 'unix:///s?password=secret'
    expect 2 segmenter context add bad
    expect 2 segmenter context add bad -u http://h
    expect 1 segmenter context add bad -u redis://h --password-file nowhere
    echo nonsense >config/segmenter/contexts.json
    expect 1 segmenter context ls
    has err 'no file of contexts'
    expect 1 segmenter stream ls
    expect 0 segmenter -u "$url" stream ls
    lacks config/segmenter/contexts.json secret
}

# A server with a password, on a socket of its own.
protected() {
    mkdir own
    "$(command -v redis-server || command -v valkey-server)" --port 0 --dir "$PWD/own" --save '' \
        --unixsocket "$PWD/own/s" --requirepass "$1" >server.log 2>&1 &
    children="$children $!"
    eventually 20 test -S own/s
    url=unix://$PWD/own/s
}

case_password_file() {
    secret='hunter2-%/:@secret'
    protected "$secret"
    printf '%s\nsecond line\n' "$secret" >pw
    printf 'wrong\n' >wrong
    : >empty
    encoded=hunter2-%25%2F%3A%40secret
    {
        expect 5 segmenter -u "$url" stream ls
        cat out err
        expect 0 segmenter -u "$url" --password-file pw stream create orders -p 1
        cat out err
        expect 0 env SEGMENTER_PASSWORD_FILE=pw "$SEGMENTER" -u "$url" -v stream ls --json
        cat out err
        expect 0 segmenter --trace -u "$url" --password-file pw stream ls
        cat out err
        expect 0 segmenter -u "unix://:$encoded@$PWD/own/s" --trace stream ls
        cat out err
        expect 5 segmenter -u "$url" --password-file wrong stream ls
        cat out err
        expect 5 segmenter -u "$url" --password-file empty stream ls
        cat out err
        expect 1 segmenter -u "$url" --password-file nowhere stream ls
        cat out err
        expect 2 segmenter -u "unix://:$encoded@$PWD/own/s" --password-file pw stream ls --json
        cat out err
        XDG_CONFIG_HOME=$PWD/config expect 0 segmenter context add here -u "$url" --password-file pw
        XDG_CONFIG_HOME=$PWD/config expect 0 segmenter --context here stream info orders --json
        cat out err config/segmenter/contexts.json
    } >all
    lacks all 'hunter2|wrong$|%2F%3A'
    expect 5 segmenter -u "$url" stream ls --json
    has err '"hint":"--password-file names a file with the password; '
    # A context's password goes to no other server.
    XDG_CONFIG_HOME=$PWD/config expect 5 segmenter --context here -u "$url" stream ls
    # Not even ps(1) sees one.
    start held.out -u "unix://:$encoded@$PWD/own/s" consume orders -g g --member m
    owner_there() {
        segmenter -u "$url" --password-file pw group describe g -s orders --window 0 --json | grep -q '"owner":"m"'
    }
    eventually 20 owner_there
    tr '\0' ' ' <"/proc/$child/cmdline" >cmdline
    has cmdline ':\*\*\*'
    lacks cmdline 'hunter2'
    kill -TERM "$child"
    ended "$child" 0
}

# ---- What is said as JSON -----------------------------------------------------------------------------

case_json_errors() {
    for args in "stream info nowhere --json" "group describe g -s nowhere --json" "stream info --json" \
        "consume nowhere -g g -J" "stream ls --json --columns x" "frobnicate --json" \
        "-u unix:///nowhere/redis.sock stream ls --json" "top -s nowhere --json"; do
        # shellcheck disable=SC2086 # several words
        segmenter $args >out 2>err
        code=$?
        [ ! -s out ] || fail "an error wrote to stdout: $args"
        { echo "\$ segmenter $args"; cat err; echo "exit $code"; } >>errors.txt
    done
    golden json-errors.txt errors.txt
}

# ---- Completions and man pages ------------------------------------------------------------------------

# completes WORDS...: what bash offers for the last of them.
completes() {
    bash -c 'PATH=$1:$PATH; source "$2"; shift 2; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _segmenter; printf "%s\n" "${COMPREPLY[@]}"' bash "$PWD/bin" "$PWD/bash" "$@" >out
}

case_completion() {
    mkdir bin
    ln -s "$SEGMENTER" bin/segmenter
    for shell in bash zsh fish; do
        expect 0 segmenter completion $shell
        cp out $shell
        ! command -v $shell >/dev/null || $shell -n $shell || fail "$shell does not take its script"
    done
    expect 2 segmenter completion csh
    expect 0 segmenter stream create orders -p 1
    expect 0 segmenter stream create other -p 1
    expect 0 segmenter group seek readers -s orders --to end --execute
    completes segmenter str
    has out '^stream$'
    completes segmenter stream ''
    has out '^create$'
    completes segmenter stream info or
    [ "$(cat out)" = orders ] || fail "stream info or: $(cat out)"
    completes segmenter produce ''
    has out '^other$'
    completes segmenter stream create x --on-full ''
    has out '^drop-oldest$'
    completes segmenter consume orders --gr
    has out '^--group$'
    completes segmenter consume orders -g r
    has out '^readers$'
    completes segmenter stream ls --sort mess
    has out '^messages$'
    completes segmenter --na
    has out '^--namespace$'
    completes segmenter -N nowhere produce ''
    ! grep -q . out || fail "another namespace's streams: $(cat out)"
}

# options_of TEXT: the options that a help lists.
options_of() {
    grep -oE '^ +(-[A-Za-z], )?--[a-z][a-z0-9-]*' "$1" | grep -oE -- '--[a-z][a-z0-9-]*' | sed 's/^--//'
}

# Every command and option that the help has is in each of the scripts.
case_completion_whole() {
    for shell in bash zsh fish; do
        expect 0 segmenter completion $shell
        cp out $shell
    done
    expect 0 segmenter --help
    cp out help
    # A name is words in small letters; what it takes and what it does begin with others.
    sed -n '/^Commands:/,/^$/p' help | awk 'NR > 1 && /^  [a-z]/ {
        name = ""
        for (i = 1; i <= NF && $i ~ /^[a-z][a-z0-9]*$/; i++) name = name (i > 1 ? " " : "") $i
        print name }' >names
    lines names 40 || fail "only so many commands: $(cat names)"
    options_of help >globals
    lines globals 8 || fail "only so many global options: $(cat globals)"
    while read -r option; do
        grep -q "_segmenter_words \"\$opts.* --$option[ \"]" bash || fail "bash lacks --$option"
        grep -Eq "^complete -c segmenter( -s .)? -l $option " fish || fail "fish lacks --$option"
        sed -n '/^  common=(/,/^  )/p' zsh | grep -Eq -- "--$option(\[|\})" || fail "zsh lacks --$option"
    done <globals
    total=0
    while read -r name; do
        # shellcheck disable=SC2086 # two words
        expect 0 segmenter $name --help
        cp out one
        grep "^    '$name') opts='" bash >of_bash || fail "bash lacks $name"
        grep "^complete -c segmenter -n '__segmenter_is[a-z0-9 ]*' -a ${name##* } " fish >of_fish || fail "fish lacks $name"
        grep "__segmenter_is $name'" fish >>of_fish
        sed -n "/^  ('$name') opts=(/,/ ;;\$/p" zsh >of_zsh
        [ -s of_zsh ] || fail "zsh lacks $name"
        for option in $(options_of one); do
            total=$((total + 1))
            grep -q -- " --$option[ ']" of_bash || fail "bash lacks $name --$option"
            grep -q -- " -l $option " of_fish || fail "fish lacks $name --$option"
            grep -Eq -- "--$option(\[|\})" of_zsh || fail "zsh lacks $name --$option"
        done
    done <names
    [ "$total" -ge 150 ] || fail "only $total options"
}

case_man() {
    expect 0 segmenter man --dir man1
    for page in segmenter segmenter-consume segmenter-group-describe; do
        [ -s man1/$page.1 ] || fail "there is no $page.1"
    done
    has man1/segmenter-stream-create.1 '^\.It Fl p , Fl -partitions Ar PARTITIONS$'
    # A page of a page that is not installed yet is not found.
    if command -v mandoc >/dev/null; then
        mandoc -Tlint man1/*.1 | grep -v 'referenced manual not found' >lint
        [ ! -s lint ] || fail "mandoc: $(head -n 5 lint)"
    fi
    expect 1 segmenter man --dir /proc/nowhere
}

# ---- A server in the background ----------------------------------------------------------------------

case_server_detach() {
    expect 2 segmenter server --detach
    expect 0 segmenter server --dir own --detach
    url=$(cat out)
    [ "$url" = "unix://$PWD/own/redis.sock" ] || fail "its URL is $url"
    expect 0 segmenter -u "$url" stream create orders -p 1
    expect 4 segmenter server --dir own --detach
    pid=$(cat own/pid)
    kill "$pid"
    gone() {
        ! kill -0 "$pid" 2>/dev/null
    }
    eventually 20 gone
    expect 5 segmenter -u "$url" stream ls
    expect 1 segmenter server --dir other --detach --program /bin/false
}
