# shellcheck shell=bash
# The guests in JavaScript and Python, as components, into build/guests/. Sourced by ./dev.
#
# Each takes some ten seconds to make, and nothing but its source, the WIT and its maker goes in: it
# is kept in the cache, for the next tree. Ninja knows nothing of them, so that who only builds weir
# does not wait for them, and has no need of their makers.

# Of each: its name, its world, its source.
readonly component_guests=(
    "seed-js       reactive          tests/guests/js/seed.js"
    "echo-js       handler           tests/guests/js/echo.js"
    "json-js       handler           tests/guests/js/json.js"
    "errors-js     handler           tests/guests/js/errors.js"
    "reject-js     handler-or-reject tests/guests/js/reject.js"
    "seed-python   reactive          tests/guests/python/seed.py"
    "echo-python   handler           tests/guests/python/echo.py"
    "json-python   handler           tests/guests/python/json_body.py"
    "errors-python handler           tests/guests/python/errors.py"
    "reject-python handler-or-reject tests/guests/python/reject.py"
    "bench-js      handler           bench/guest.js"
    "bench-python  handler           bench/guest.py"
)

# build_components: makes them all. One whose maker cannot be had here is skipped: NAME.wasm.skipped
# says why, for the tests that want it. One that its maker refuses is a failure.
build_components() {
    local row name world source
    setup_components
    for row in "${component_guests[@]}"; do
        read -r name world source <<<"$row"
        build_component "$name" "$world" "$source" || return
    done
}

# build_component NAME WORLD SOURCE
build_component() {
    local name=$1 world=$2 source=$3
    local product=build/guests/$1.wasm suffix=${3##*.} language maker
    case $suffix in
    js) language=JavaScript maker=$componentize_js ;;
    py) language=Python maker=$componentize_py ;;
    esac
    if [ -z "$maker" ]; then
        rm -f "$product"
        printf 'what makes components of %s could not be installed: see %s\n' \
            "$language" "$log_dir" >"$product.skipped"
        say "skipped: $product: $(<"$product.skipped")"
        return 0
    fi
    local entry
    entry=guest-$name-$(key "$source" "$root"/wit/*.wit \
        <(printf '%s\n' "$world" "${maker##*/}" && declare -f "component_fill_$suffix"))
    cached "$entry" "$name.wasm, a component, into the cache" \
        "component_fill_$suffix" "$maker" "$world" "$root/$source" || return
    rm -f "$product.skipped"
    # As a whole, or not: a run of the tests may be reading it.
    cmp -s "$cache/$entry/guest.wasm" "$product" ||
        { cp "$cache/$entry/guest.wasm" "$product.new" && mv "$product.new" "$product"; }
}

# component_fill_SUFFIX MAKER WORLD SOURCE FOLDER: makes FOLDER/guest.wasm. The source is alone in a
# folder: what is beside it in its own must not be found by an import.
component_fill_js() {
    mkdir "$4/source" && cp "$3" "$4/source/" || return
    "$1/node" "$1/componentize.mjs" "$4/source/${3##*/}" "$root/wit" "$2" "$4/guest.wasm" || return
    rm -r "$4/source"
}

component_fill_py() {
    mkdir "$4/source" && cp "$3" "$4/source/guest_main.py" || return
    # Without the command that pip made, which has the path of a folder that is gone.
    env -u VIRTUAL_ENV "$1/bin/python" -c 'import componentize_py; componentize_py.script()' \
        --wit-path "$root/wit" --world "$2" componentize --python-path "$4/source" \
        --output "$4/guest.wasm" guest_main || return
    rm -r "$4/source"
}
