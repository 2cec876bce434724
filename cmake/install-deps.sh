#!/usr/bin/env bash
# Installs what protlm needs on Debian and its relatives, and Kokkos. Safe to run again: what is there is kept.
#
# usage: cmake/install-deps.sh [--tests] [--quickstart] [--docs] [--all] [--cuda] [--serial] [--upstream-kokkos]
#   (nothing)      compiler, libraries, Kokkos with OpenMP
#   --tests        also what the tests need: Boost.Test; Clang for the fuzz targets and ThreadSanitizer
#   --quickstart   also gnuplot and the 20,000 proteins of mmseqs2-examples
#   --docs         also Doxygen
#   --all          all of the above
#   --cuda         also Kokkos with CUDA in deps/kokkos-cuda, for the CUDA toolkit whose nvcc is on PATH
#   --serial       also Kokkos without threads in deps/kokkos-serial, for the preset `serial`
#   --upstream-kokkos  build Kokkos 4.6.01 as its authors released it (from github.com, by SHA-256), whatever is there
#
# Kokkos is taken where CMake finds one with OpenMP; else from libkokkos-dev where that has OpenMP; else it is built into
# deps/ from the source package kokkos, or, where the release has none, from the copy in trilinos (Kokkos 3.4). Building
# needs no root; packages need root or sudo.
# PROTLM_CUDA_ARCH (default AMPERE80) names the GPU in Kokkos's words; newer GPUs run the code for an older one.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
deps=$root/deps
jobs=$(nproc)
recipe=2 # counts changes of how Kokkos is built here: a new number builds it again

say() { printf 'install-deps: %s\n' "$*"; }
die() {
    printf 'install-deps: %s\n' "$*" >&2
    exit 1
}

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }

# ---- Debian packages ------------------------------------------------------------------------------------------------

packages=(g++ cmake make ninja-build ccache mold ca-certificates libeigen3-dev nlohmann-json3-dev libcli11-dev
    zlib1g-dev libzstd-dev liblzma-dev libbz2-dev libhdf5-dev libopenmpi-dev openmpi-bin libbenchmark-dev)
test_packages=(libboost-test-dev clang-14 libclang-rt-14-dev libomp-14-dev)
quickstart_packages=(gnuplot-nox mmseqs2-examples)
docs_packages=(doxygen)

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^.i' || echo "$package"
    done
}

# Sets `as_root` to the words before a command that needs root; fails where there is no way.
find_root() {
    as_root=()
    [ "$(id -u)" -eq 0 ] && return
    command -v sudo >/dev/null || return 1
    as_root=(sudo)
    sudo -n true 2>/dev/null || [ -t 0 ] # without a terminal nobody can type a password
}

# Fetches the package lists, once, where that is possible: fresh containers have none.
update_lists() {
    [ -n "${lists_updated:-}" ] && return
    lists_updated=1
    find_root || return 0
    "${as_root[@]}" apt-get update -q || say "some package lists could not be fetched; going on with the others"
}

# True when the package lists know every one of the packages.
known_package() {
    local package
    for package in "$@"; do
        apt-cache show "$package" >/dev/null 2>&1 || return 1
    done
}

# Other releases have another Clang: the newest that they have takes the place of 14.
adapt_clang() {
    known_package clang-14 && return
    update_lists
    local version
    for version in 14 21 20 19 18 17 16 15; do
        if known_package "clang-$version"; then
            test_packages=("${test_packages[@]//-14/-$version}")
            return
        fi
    done
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -eq 0 ] && return
    local command=(apt-get install -y --no-install-recommends "${missing[@]}")
    if ! find_root; then
        echo "install-deps: packages are missing, and this user is neither root nor has sudo. Please have run:" >&2
        echo "    apt-get update && ${command[*]}" >&2
        exit 1
    fi
    say "installing ${missing[*]}"
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${command[@]}" -o DPkg::Lock::Timeout=300 -q)
    known_package "${missing[@]}" || update_lists
    # Lists that are older than the mirror name files that are gone: then fetch them and try once more.
    if ! "${apt[@]}" </dev/null; then
        update_lists
        "${apt[@]}" </dev/null || die "apt-get could not install ${missing[*]}"
    fi
}

install_all_packages() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "this is no Debian: please see to these packages, under whatever name they have here: $*"
        return
    fi
    install_packages "$@"
}

# ---- Kokkos's source -----------------------------------------------------------------------------------------------

# Writes source entries for the release this machine runs into folder $1, made from its own package entries.
source_entries() {
    local codename
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
    local file
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$file" ] || continue
        sed -nE "s/^deb(-src)?[[:space:]]+((\[[^]]*\][[:space:]]+)?[^[:space:]]+[[:space:]]+${codename}[[:space:]].*)/deb-src \2/p" \
            "$file"
    done | sort -u >"$1/sources.list"
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -f "$file" ] || continue
        # One paragraph an entry; of its suites only the release itself (no -updates, no -security).
        grep -v '^#' "$file" | awk -v RS= -v suite="$codename" '
            /(^|\n)Enabled: *no/ { next }
            match($0, /(^|\n)Suites:[^\n]*/) {
                line = substr($0, RSTART, RLENGTH)
                if ((line " ") !~ ("[ :]" suite " ")) next
                sub(/(^|\n)Suites:[^\n]*/, "\nSuites: " suite)
                sub(/(^|\n)Types:[^\n]*/, "\nTypes: deb-src")
                sub(/^\n/, "")
                print $0 "\n"
            }'
    done >"$1/sources.sources"
    if [ ! -s "$1/sources.list" ] && [ ! -s "$1/sources.sources" ]; then
        echo "deb-src http://deb.debian.org/debian $codename main" >"$1/sources.list"
    fi
}

# Prints "URL FILE HASH" of the tarball behind Debian source package $2, with package lists of its own in folder $1: the
# system's are not touched. Only the tarball is wanted: mirrors that have lost the small files beside it still serve it.
source_tarball() {
    local work=$1 package=$2 list
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    [ -e "$work/sources.list" ] || source_entries "$work"
    for list in "$work/sources.sources" "$work/sources.list"; do
        [ -s "$list" ] || continue
        local options=(-q -o "Dir::Etc::sourcelist=$list" -o Dir::Etc::sourceparts=- -o "Dir::State::Lists=$work/lists"
            -o "Dir::Cache=$work/cache" -o APT::Get::List-Cleanup=0 -o APT::Sandbox::User=root)
        if [ ! -e "$list.updated" ]; then
            apt-get update "${options[@]}" -o Acquire::Languages=none >&2 || true # another entry may still have it
            touch "$list.updated"
        fi
        if apt-get source --print-uris --download-only "${options[@]}" "$package" 2>/dev/null |
            sed -nE "s/^'([^']+\.orig\.tar\.[a-z0-9]+)' ([^ ]+) [0-9]+ ([A-Za-z0-9]+:[0-9a-f]+)\$/\1 \2 \3/p" | grep .; then
            return
        fi
    done
    return 1
}

# Unpacks the folder $3 (a pattern of tar) of tarball $1 into $2/kokkos, complete or not at all.
unpack_kokkos() {
    local tarball=$1 work=$2 pattern=$3 depth
    depth=$(tr -cd / <<<"$pattern" | wc -c)
    rm -rf "$work/unpacked"
    mkdir -p "$work/unpacked/kokkos"
    tar -xf "$tarball" -C "$work/unpacked/kokkos" --wildcards --strip-components=$((depth + 1)) "$pattern" || return 1
    [ -f "$work/unpacked/kokkos/CMakeLists.txt" ] || return 1
    edit_source "$work/unpacked/kokkos"
    mv "$work/unpacked/kokkos" "$work/kokkos" # last: a source folder of this name is complete
}

# Kokkos's source from Debian: its own package where this release has it, which is newer, else the copy in trilinos.
fetch_debian_source() {
    local work=$1 package pattern found url file hash
    for package in kokkos trilinos; do
        found=$(source_tarball "$work" "$package") || continue
        read -r url file hash <<<"$(tail -n 1 <<<"$found")"
        pattern='*'
        [ "$package" = kokkos ] || pattern='*/packages/kokkos'
        say "fetching Kokkos's source from Debian's $package: $file"
        /usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file "$url" "$work/$file" "$hash" &&
            unpack_kokkos "$work/$file" "$work" "$pattern" && return
        say "$package: $file could not be fetched or has no Kokkos"
    done
    return 1
}

# A release of Kokkos from its authors, for those who have the internet.
upstream_version=4.6.01
upstream_url=https://github.com/kokkos/kokkos/releases/download/$upstream_version/kokkos-$upstream_version.tar.gz
upstream_sha256=b9d70e4653b87a06dbb48d63291bf248058c7c7db4bd91979676ad5609bb1a3a
fetch_upstream_source() {
    local work=$1 file=$1/kokkos-$upstream_version.tar.gz
    say "fetching Kokkos $upstream_version from $upstream_url"
    if command -v curl >/dev/null; then
        curl --fail --location --silent --show-error --output "$file" "$upstream_url" || return 1
    else
        wget -q -O "$file" "$upstream_url" || return 1
    fi
    local sum
    sum=$(sha256sum "$file" | cut -d' ' -f1)
    [ "$sum" = "$upstream_sha256" ] || die "$upstream_url has the SHA-256 $sum, expected $upstream_sha256: not used"
    unpack_kokkos "$file" "$work" '*'
}

# Sets `kokkos_source` to Kokkos's source folder, fetching it the first time.
prepare_source() {
    local work=$deps/source origin=debian
    [ -z "$upstream" ] || origin=upstream-$upstream_version
    kokkos_source=$work/kokkos
    [ "$(cat "$work/origin" 2>/dev/null)" = "recipe $recipe $origin" ] && return
    rm -rf "$work"
    mkdir -p "$work"
    if [ -n "$upstream" ]; then
        fetch_upstream_source "$work" || die "cannot fetch $upstream_url"
    else
        command -v apt-get >/dev/null ||
            die "no apt-get, so no source of Kokkos: --upstream-kokkos fetches it from its authors. Or build Kokkos 3.4" \
                "or newer with OpenMP, and set CMAKE_PREFIX_PATH."
        fetch_debian_source "$work" ||
            die "cannot fetch Kokkos's source from Debian: --upstream-kokkos fetches it from its authors. Or build" \
                "Kokkos 3.4 or newer with OpenMP, and set CMAKE_PREFIX_PATH."
    fi
    rm -rf "$work"/*.tar.* "$work"/sources.* "$work/lists" "$work/cache" "$work/unpacked"
    echo "recipe $recipe $origin" >"$work/origin"
}

# "3", "4" or "5"
kokkos_major() { sed -nE 's/^ *set *\(Kokkos_VERSION_MAJOR ([0-9]+)\).*/\1/Ip' "$kokkos_source/CMakeLists.txt" | head -n 1; }
# Kokkos 3 is C++17 for compilers of its time; from version 5 on it asks for C++20 itself.
kokkos_standard() { [ "$(kokkos_major)" -ge 4 ] && echo 20 || echo 17; }

# Kokkos 3.4 takes std::uint32_t and its like from headers that bring them no longer since GCC 13.
edit_source() {
    local macros=$1/core/src/Kokkos_Macros.hpp
    if grep -q 'Kokkos_VERSION_MAJOR 3)' "$1/CMakeLists.txt"; then
        sed -i '0,/^#include/s//#include <cstdint>\n#include/' "$macros"
        grep -q '^#include <cstdint>' "$macros" || die "$macros: no place for <cstdint>"
    fi
}

# Kokkos 3.4 is older than C++20 in nvcc and than CUDA 13; newer ones have none of these lines and stay as they are.
edit_source_for_cuda() {
    local source=$1 half=$1/core/src/Cuda/Kokkos_Cuda_Half.hpp
    # nvcc no longer knows sm_35; and C++20 is passed on like C++17.
    sed -i -e 's/^default_arch="sm_35"/default_arch="sm_80"/' \
        -e 's/^  --std=c++17|-std=c++17)/  --std=c++17|-std=c++17|--std=c++20|-std=c++20)/' "$source/bin/nvcc_wrapper"
    # __half2double is gone, and the conversion from half_t to __half is ambiguous.
    if [ -f "$half" ]; then
        sed -i -E -e 's/return __half2double\(val\)/return __half2float(val)/' \
            -e 's/return __half2(float|short_rz|ushort_rz|int_rz|uint_rz|ll_rz|ull_rz)\(val\);/return __half2\1(half_t::impl_type(val));/' \
            "$half"
        # Inside the class itself `val` is the __half already, and the cast changes nothing.
    fi
    # cudaMemPrefetchAsync takes a location since CUDA 13.
    local space=$source/core/src/Cuda/Kokkos_CudaSpace.cpp
    if grep -q 'cudaMemPrefetchAsync(ptr, bytes, space.cuda_device(),$' "$space" 2>/dev/null; then
        sed -i -e '/cudaMemPrefetchAsync(ptr, bytes, space.cuda_device(),$/{N
s/.*/#if CUDART_VERSION >= 13000\
    cudaMemLocation const location{cudaMemLocationTypeDevice, space.cuda_device()};\
    CUDA_SAFE_CALL(cudaMemPrefetchAsync(ptr, bytes, location, 0, space.cuda_stream()));\
#else\
&\
#endif/}' "$space"
    fi
}

# ---- Kokkos ---------------------------------------------------------------------------------------------------------

# Prints "VERSION FOLDER" of a Kokkos with OpenMP that CMake finds outside deps/; fails where there is none.
find_kokkos() {
    local probe
    probe=$(mktemp -d)
    cat >"$probe/CMakeLists.txt" <<'PROBE'
cmake_minimum_required(VERSION 3.22)
project(probe LANGUAGES CXX)
find_package(Kokkos QUIET REQUIRED)
if(Kokkos_VERSION VERSION_LESS 3.4 OR NOT ("OPENMP" IN_LIST Kokkos_DEVICES OR Kokkos_ENABLE_OPENMP))
    message(FATAL_ERROR "no OpenMP")
endif()
file(WRITE "${CMAKE_BINARY_DIR}/found" "${Kokkos_VERSION} ${Kokkos_DIR}\n")
PROBE
    if cmake -S "$probe" -B "$probe/build" >/dev/null 2>&1; then
        cat "$probe/build/found"
    fi
    rm -rf "$probe"
}

# True when Debian's libkokkos-dev exists here and was built with OpenMP.
debian_kokkos_has_openmp() {
    command -v apt-get >/dev/null && apt-cache show libkokkos-dev >/dev/null 2>&1 || return 1
    local work result=1
    work=$(mktemp -d)
    if (cd "$work" && apt-get download -q libkokkos-dev >/dev/null 2>&1) &&
        dpkg-deb --fsys-tarfile "$work"/libkokkos-dev_*.deb | tar -xO --wildcards '*KokkosCore_config.h' |
        grep -q '^#define KOKKOS_ENABLE_OPENMP'; then
        result=0
    fi
    rm -rf "$work"
    return $result
}

# build_kokkos NAME STAMP SOURCE [cmake options...]: installs into deps/NAME, complete or not at all.
build_kokkos() {
    local name=$1 stamp=$2 source=$3
    shift 3
    say "building Kokkos into deps/$name"
    rm -rf "$deps/$name.new"
    # A build folder of an interrupted run is taken up again; one that failed is not.
    if ! {
        cmake -S "$source" -B "$deps/build/$name" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_LIBDIR=lib \
            -DCMAKE_INSTALL_PREFIX="$deps/$name.new" -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
            -DKokkos_ENABLE_SERIAL=ON -DKokkos_ENABLE_TESTS=OFF -Wno-dev "$@" &&
            cmake --build "$deps/build/$name" -j"$jobs" && cmake --install "$deps/build/$name"
    } >"$deps/$name.log" 2>&1; then
        tail -n 30 "$deps/$name.log" >&2
        rm -rf "$deps/build/$name"
        die "Kokkos did not build; all of it is in deps/$name.log"
    fi
    echo "$stamp" >"$deps/$name.new/protlm-stamp"
    rm -rf "${deps:?}/$name"
    mv "$deps/$name.new" "$deps/$name"
    rm -rf "$deps/build/$name"
    say "Kokkos is in deps/$name"
}

# What --upstream-kokkos built serves without the option, too.
has_stamp() {
    local stamp
    stamp=$(cat "$deps/$1/protlm-stamp" 2>/dev/null) || return 1
    [ "$stamp" = "$2" ] || [ "$stamp" = "$2 upstream $upstream_version" ]
}

# Another compiler's library may not link, so the compiler's major version belongs to the stamp.
compiler_version() { "${CXX:-c++}" -dumpversion | cut -d. -f1; }

install_kokkos() {
    local stamp found
    stamp="recipe $recipe openmp compiler $(compiler_version)${upstream:+ upstream $upstream_version}"
    has_stamp kokkos "$stamp" && return
    found=''
    [ -n "$upstream" ] || found=$(find_kokkos)
    if [ -n "$found" ]; then
        say "Kokkos ${found/ / in }"
        return
    fi
    if [ -z "$upstream" ] && debian_kokkos_has_openmp && find_root; then
        install_packages libkokkos-dev
        [ -n "$(find_kokkos)" ] && return
    fi
    mkdir -p "$deps"
    prepare_source
    build_kokkos kokkos "$stamp" "$kokkos_source" -DKokkos_ENABLE_OPENMP=ON "-DCMAKE_CXX_STANDARD=$(kokkos_standard)"
}

install_kokkos_serial() {
    local stamp
    stamp="recipe $recipe serial compiler $(compiler_version)${upstream:+ upstream $upstream_version}"
    has_stamp kokkos-serial "$stamp" && return
    mkdir -p "$deps"
    prepare_source
    build_kokkos kokkos-serial "$stamp" "$kokkos_source" "-DCMAKE_CXX_STANDARD=$(kokkos_standard)"
}

install_kokkos_cuda() {
    command -v nvcc >/dev/null || die "--cuda: nvcc is not on PATH; install the CUDA toolkit"
    local arch=${PROTLM_CUDA_ARCH:-AMPERE80} stamp nvcc_version
    nvcc_version=$(nvcc --version | sed -nE 's/.*release ([0-9.]+).*/\1/p')
    stamp="recipe $recipe cuda $nvcc_version $arch compiler $(compiler_version)${upstream:+ upstream $upstream_version}"
    has_stamp kokkos-cuda "$stamp" && return
    mkdir -p "$deps"
    prepare_source
    rm -rf "$deps/source/kokkos-cuda"
    cp -r "$kokkos_source" "$deps/source/kokkos-cuda"
    edit_source_for_cuda "$deps/source/kokkos-cuda"
    build_kokkos kokkos-cuda "$stamp" "$deps/source/kokkos-cuda" -DKokkos_ENABLE_CUDA=ON \
        -DKokkos_ENABLE_CUDA_LAMBDA=ON "-DKokkos_ARCH_$arch=ON" -DKokkos_ENABLE_OPENMP=ON \
        "-DCMAKE_CXX_STANDARD=$(kokkos_standard)" -DCMAKE_CXX_COMPILER="$deps/source/kokkos-cuda/bin/nvcc_wrapper"
}

# ---- main -----------------------------------------------------------------------------------------------------------

tests='' quickstart='' docs='' cuda='' serial='' upstream=''
for option in "$@"; do
    case $option in
    --tests) tests=1 ;;
    --quickstart) quickstart=1 ;;
    --docs) docs=1 ;;
    --all) tests=1 quickstart=1 docs=1 ;;
    --cuda) cuda=1 ;;
    --serial) serial=1 ;;
    --upstream-kokkos) upstream=1 ;;
    -h | --help)
        usage
        exit
        ;;
    *) die "unknown option $option (see --help)" ;;
    esac
done

if [ -n "$tests" ] && command -v apt-cache >/dev/null; then
    adapt_clang
fi
wanted=("${packages[@]}")
[ -n "$tests" ] && wanted+=("${test_packages[@]}")
[ -n "$quickstart" ] && wanted+=("${quickstart_packages[@]}")
[ -n "$docs" ] && wanted+=("${docs_packages[@]}")
install_all_packages "${wanted[@]}"
install_kokkos
[ -n "$serial" ] && install_kokkos_serial
[ -n "$cuda" ] && install_kokkos_cuda
say "everything is there"
