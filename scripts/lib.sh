# lib.sh - what the scripts beside it share: installing what is missing, and building.
# Sourced by a POSIX shell, with `root` set to the checkout. Talks on stderr.

say() {
    printf '%s\n' "== $*" >&2
}

die() {
    printf '%s\n' "$0: $*" >&2
    exit 1
}

# ---- Cleaning up: each on_exit COMMAND runs when the script ends, the latest first ------------

cleanup_commands=:

on_exit() {
    cleanup_commands="$1; $cleanup_commands"
}

run_cleanup() {
    status=$?
    trap - EXIT
    eval "$cleanup_commands"
    exit "$status"
}

trap run_cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# A signal ends a shell in the background, and leaves what it was waiting for. Each is stopped until its
# children are known, so that it starts no more of them.
end_with_children() { # PID...
    for parent in "$@"; do
        kill -STOP "$parent" 2>/dev/null || continue
        # shellcheck disable=SC2046 # a list
        set -- $(cat /proc/[0-9]*/status 2>/dev/null | awk -v parent="$parent" '
            /^Pid:/ { pid = $2 }
            /^PPid:/ && $2 == parent { print pid }
        ')
        kill "$parent"
        kill -CONT "$parent"
        end_with_children "$@"
    done
}

# ---- Installing -------------------------------------------------------------------------------

# Looks at what can be used rather than at what the package manager knows, so that a machine with
# everything in place, from wherever, needs neither apt nor root.

missing=

need() { # need PACKAGES COMMAND...: the packages, unless the command succeeds
    packages=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $packages"
}

has() {
    command -v "$1"
}

has_c_library() { # gcc without its recommended libc6-dev compiles nothing
    echo '#include <stdio.h>' | cc -E - && echo 'int main(void) { return 0; }' |
        cc -x c -o /dev/null -
}

need_build_tools() {
    need 'gcc libc6-dev' has_c_library
    need make has make
    need cmake has cmake
    need pkg-config has pkg-config
    need libhiredis-dev pkg-config --exists hiredis
    need liblz4-dev pkg-config --exists liblz4
    need libzstd-dev pkg-config --exists libzstd
    need libjansson-dev pkg-config --exists jansson
    need libsmartcols-dev pkg-config --exists smartcols
    need libmicrohttpd-dev pkg-config --exists libmicrohttpd
}

need_event_loops() { # for the examples that show them; a build without is one without those
    need libuv1-dev pkg-config --exists libuv
    need libevent-dev pkg-config --exists libevent_core
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo >/dev/null; then
        sudo "$@"
    else
        return 126
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -y -q \
        -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

# Debian starts a service when it is installed, unless policy-rc.d says no. The machine's own policy,
# where it has one, is left alone; hence also stop_new_services.
forbid_services() {
    [ -e /usr/sbin/policy-rc.d ] && return
    on_exit allow_services
    printf '#!/bin/sh\nexit 101\n' | as_root sh -c \
        'cat > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d'
    services_forbidden=1
}

allow_services() {
    [ -z "${services_forbidden-}" ] || as_root rm -f /usr/sbin/policy-rc.d
    services_forbidden=
}

stop_new_services() { # SERVICE...: those that this script has just installed
    [ -d /run/systemd/system ] || return 0
    for service in "$@"; do
        as_root systemctl disable --now "$service" >/dev/null 2>&1
    done
    return 0
}

servers_there() {
    for program in redis-server valkey-server prometheus; do
        has $program >/dev/null && echo $program
    done
}

on_offer() {
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [0-9]'
}

# Install what need() found missing, and of the optional packages those that apt has to offer. Only
# the missing ones are asked for, one update at most.
install_missing() { # OPTIONAL_PACKAGE...
    if [ -n "$missing" ]; then
        has apt-get >/dev/null || die "missing, and no apt-get to install it:$missing"
        say "installing:$missing"
        as_root true || die "not root and no sudo; please install:$missing"
    elif ! has apt-get >/dev/null || [ "$(id -u)" -ne 0 ] || [ $# -eq 0 ]; then
        return # do not ask for a password for what can be done without
    fi
    before=$(servers_there)
    install_log=$(mktemp) || die "no temporary file"
    on_exit 'rm -f "$install_log"'
    forbid_services
    if [ -n "$missing" ]; then
        apt_get update > "$install_log" 2>&1 ||
            say "apt-get update failed; trying with the lists that are there"
        # shellcheck disable=SC2086 # a list
        apt_get install --no-install-recommends $missing >> "$install_log" 2>&1 || {
            tail -30 "$install_log" >&2
            die "could not install:$missing"
        }
    fi
    for package in "$@"; do
        if on_offer "$package" && apt_get install --no-install-recommends "$package" \
            >> "$install_log" 2>&1; then
            say "installed $package, which is optional"
        fi
    done
    allow_services
    for program in $(servers_there); do
        case " $before " in
        *"$program"*) ;;
        *) stop_new_services "$program" ;;
        esac
    done
}

# A clang that has its runtime: Debian's packages leave that to a recommendation.
find_clang() {
    for clang in clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14; do
        has $clang >/dev/null || continue
        printf '%s\n' '#include <stddef.h>' 'int LLVMFuzzerTestOneInput(const char *d, size_t n);' \
            'int LLVMFuzzerTestOneInput(const char *d, size_t n) { return d && n > 9999; }' |
            $clang -fsanitize=fuzzer,address,undefined -x c -o /dev/null - 2>/dev/null || continue
        echo $clang
        return
    done
    return 1
}

# Which package has the runtime of the clang that is Debian's default: it was split off once.
runtime_packages() {
    version=$(LC_ALL=C apt-cache depends clang 2>/dev/null |
        sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -1)
    for package in "libclang-rt-$version-dev" "libclang-common-$version-dev"; do
        ! on_offer "$package" || { echo "$package"; return; }
    done
}

need_clang() { # with its runtime
    find_clang >/dev/null && return
    has apt-get >/dev/null || die "missing, and no apt-get to install it: clang with its runtime"
    [ -n "$(runtime_packages)" ] || apt_get update >/dev/null 2>&1
    missing="$missing clang $(runtime_packages)"
}

# Sanitizers, and programs that start themselves again, read /proc/self; a bare chroot has none.
need_proc() {
    [ -e /proc/self/exe ] && return
    if [ "$(id -u)" -eq 0 ] && mkdir -p /proc && mount -t proc proc /proc 2>/dev/null; then
        on_exit 'umount /proc 2>/dev/null || umount -l /proc'
        say "mounted /proc until the end of this script"
    else
        say "there is no /proc here and it cannot be mounted: some things will not work"
    fi
}

# ---- Building ---------------------------------------------------------------------------------

cores() {
    nproc 2>/dev/null || echo 2
}

# build DIR CMAKE_OPTION...: configure and build; everything it prints goes to DIR/build.log.
build() {
    build_dir=$1
    shift
    build_only "$build_dir" all "$@"
}

build_only() { # DIR TARGETS CMAKE_OPTION...: as build
    build_dir=$1 build_targets=$2
    shift 2
    mkdir -p "$build_dir" || return
    # A checkout that was moved or copied with its build directory: cmake would refuse.
    if [ -e "$build_dir/CMakeCache.txt" ] &&
        ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$build_dir/CMakeCache.txt"; then
        rm -rf "$build_dir/CMakeCache.txt" "$build_dir/CMakeFiles"
    fi
    # shellcheck disable=SC2086 # a list
    cmake -S "$root" -B "$build_dir" "$@" > "$build_dir/build.log" 2>&1 &&
        cmake --build "$build_dir" --parallel "$(cores)" --target $build_targets \
            >> "$build_dir/build.log" 2>&1
}
