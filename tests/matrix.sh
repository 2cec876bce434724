#!/usr/bin/env bash
# Runs the two commands of the README from nothing on bare systems, each in a folder of its own.
#
# usage: tests/matrix.sh [options] SYSTEM... [-- options of ctest...]
#   SYSTEM        debian12, debian13, ubuntu22.04 or ubuntu24.04 (debian12 debian13)
#   --quickstart  only examples/quickstart.sh        --tests  only tests/run.sh
#   --minutes N   time for the quickstart's training (1)
#   --root DIR    where the systems are made (build/matrix); one that is there is used again, packages and all
#   --mirror URL  of the distribution's packages
#
# Needs root, debootstrap (for Ubuntu also ubuntu-keyring) and some 5 GB a system. What is tried is the commit that is
# checked out. Each system has a log, DIR/SYSTEM.log; the table at the end says what passed.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }
die() {
    printf 'matrix: %s\n' "$*" >&2
    exit 2
}

root=build/matrix minutes=1 mirror='' quickstart=1 tests=1 systems=() ctest=()
while [ $# -gt 0 ]; do
    case $1 in
    --quickstart) tests='' ;;
    --tests) quickstart='' ;;
    --minutes | --root | --mirror)
        [ $# -ge 2 ] || die "$1 needs a value (see --help)"
        declare "${1#--}=$2"
        shift
        ;;
    -h | --help)
        usage
        exit
        ;;
    --)
        shift
        ctest=("$@")
        break
        ;;
    debian12 | debian13 | ubuntu22.04 | ubuntu24.04) systems+=("$1") ;;
    *) die "unknown system or option $1 (see --help)" ;;
    esac
    shift
done
[ ${#systems[@]} -gt 0 ] || systems=(debian12 debian13)
[ "$(id -u)" -eq 0 ] || die "needs root, for debootstrap and chroot"
command -v debootstrap >/dev/null || die "debootstrap is not there: apt-get install debootstrap"
mkdir -p "$root"
root=$(cd "$root" && pwd)

# Makes the bare system in folder $2, complete or not at all.
make_system() {
    local system=$1 folder=$2 name url=http://deb.debian.org/debian components=main
    case $system in
    debian12) name=bookworm ;;
    debian13) name=trixie ;;
    ubuntu22.04) name=jammy ;;
    ubuntu24.04) name=noble ;;
    esac
    case $system in ubuntu*) url=http://archive.ubuntu.com/ubuntu components=main,universe ;; esac
    [ -f "$folder/etc/debian_version" ] && [ ! -d "$folder/debootstrap" ] && return
    rm -rf "$folder"
    debootstrap --variant=minbase "--components=$components" "$name" "$folder" "${mirror:-$url}"
    cp /etc/resolv.conf "$folder/etc/resolv.conf"
}

# Runs a command of the project in the system; what it mounts is gone when it ends.
run_inside() {
    local folder=$1
    shift
    unshare --mount --propagation private -- bash -euc '
        folder=$1
        shift
        mount -t proc proc "$folder/proc"
        mount --rbind /dev "$folder/dev"
        mount -t tmpfs tmpfs "$folder/dev/shm"
        exec chroot "$folder" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            LC_ALL=C.UTF-8 bash -c "cd /protlm && exec \"\$@\"" inside "$@"' inside "$folder" "$@" </dev/null
}

# Runs one of the two commands and notes how it went: prints a line of the table.
try() {
    local system=$1 folder=$2 what=$3 started=$SECONDS result=passed
    shift 3
    run_inside "$folder" "$@" >>"$root/$system.log" 2>&1 || result="FAILED ($?)"
    printf '%-12s %-12s %s after %d minutes\n' "$system" "$what" "$result" $(((SECONDS - started + 30) / 60))
}

report=$root/report.txt
: >"$report"
for system in "${systems[@]}"; do
    folder=$root/$system
    echo "matrix: $system, log in $root/$system.log"
    make_system "$system" "$folder" >"$root/$system.log" 2>&1 || {
        printf '%-12s could not be made\n' "$system" | tee -a "$report"
        continue
    }
    rm -rf "$folder/protlm.new"
    mkdir -p "$folder/protlm" "$folder/protlm.new"
    git archive HEAD | tar -x -C "$folder/protlm.new"
    # What an earlier run built there is used again.
    for kept in deps build; do
        [ ! -d "$folder/protlm/$kept" ] || mv "$folder/protlm/$kept" "$folder/protlm.new/"
    done
    rm -rf "$folder/protlm"
    mv "$folder/protlm.new" "$folder/protlm"
    [ -z "$quickstart" ] ||
        try "$system" "$folder" quickstart examples/quickstart.sh --minutes "$minutes" | tee -a "$report"
    [ -z "$tests" ] || try "$system" "$folder" tests tests/run.sh "${ctest[@]}" | tee -a "$report"
    grep -hE 'tests passed' "$root/$system.log" | tail -n 1 | sed "s/^/$system: /" | tee -a "$report" || true
done
echo
cat "$report"
! grep -qE 'FAILED|could not be made' "$report"
