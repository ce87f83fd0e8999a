# shellcheck shell=bash
# The guests in JavaScript and Python, as components, into build/guests/. Sourced by ./dev.
#
# Each takes some ten seconds to make, and nothing but its source, the WIT and its maker goes in: it
# is kept in the cache, for the next tree. Ninja knows nothing of them, so that who only builds weir
# does not wait for them, and has no need of their makers.

# Of each: its name, its world, its source. A dash for a world: the guest is written with the SDK, which
# makes the world. The others are worlds of wit/ and of tests/guests/wit.
readonly component_guests=(
    "seed-js          -                               examples/seed/seed.js"
    "echo-js          weir:reactive/handler           tests/guests/js/echo.js"
    "json-js          weir:reactive/handler           tests/guests/js/json.js"
    "errors-js        weir:reactive/handler           tests/guests/js/errors.js"
    "reject-js        weir:reactive/handler-or-reject tests/guests/js/reject.js"
    "sdk-js           -                               tests/guests/js/sdk.js"
    "services-js      -                               tests/guests/js/services.js"
    "standard-js      weir:test/standard-watcher      tests/guests/js/standard.js"
    "messaging-js     weir:test/standard-messaging    tests/guests/js/messaging.js"
    "seed-python      -                               examples/seed/seed.py"
    "echo-python      weir:reactive/handler           tests/guests/python/echo.py"
    "json-python      weir:reactive/handler           tests/guests/python/json_body.py"
    "errors-python    weir:reactive/handler           tests/guests/python/errors.py"
    "reject-python    weir:reactive/handler-or-reject tests/guests/python/reject.py"
    "sdk-python       -                               tests/guests/python/sdk.py"
    "services-python  -                               tests/guests/python/services.py"
    "standard-python  weir:test/standard-watcher      tests/guests/python/standard.py"
    "messaging-python weir:test/standard-messaging    tests/guests/python/messaging.py"
    "bench-js         weir:reactive/handler           bench/guest.js"
    "bench-python     weir:reactive/handler           bench/guest.py"
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
    local product=build/guests/$1.wasm suffix=${3##*.} language maker sdk inputs
    case $suffix in
    js) language=JavaScript maker=$componentize_js sdk=sdk/js ;;
    py) language=Python maker=$componentize_py sdk=sdk/python ;;
    esac
    if [ -z "$maker" ]; then
        rm -f "$product"
        printf 'what makes components of %s could not be installed: see %s\n' \
            "$language" "$log_dir" >"$product.skipped"
        say "skipped: $product: $(<"$product.skipped")"
        return 0
    fi
    local entry
    mapfile -t inputs < <(component_inputs "$world" "$sdk")
    entry=guest-$name-$(key "$source" "${inputs[@]}" \
        <(printf '%s\n' "$world" "${maker##*/}" &&
            declare -f component_project "component_fill_$suffix"))
    cached "$entry" "$name.wasm, a component, into the cache" \
        "component_fill_$suffix" "$maker" "$world" "$root/$source" || return
    rm -f "$product.skipped"
    # As a whole, or not: a run of the tests may be reading it.
    cmp -s "$cache/$entry/guest.wasm" "$product" ||
        { cp "$cache/$entry/guest.wasm" "$product.new" && mv "$product.new" "$product"; }
}

# component_inputs WORLD SDK: the files that go into a guest beside its source.
component_inputs() {
    local folders=(wit "$2")
    # Who is not written with the SDK takes nothing of it but what makes a component.
    [ "$1" = - ] || folders=(wit tests/guests/wit "$2"/build.*)
    find "${folders[@]}" -path "$2/test*" -prune -o -name node_modules -prune -o \
        -name __pycache__ -prune -o -type f ! -name '*.md' -print | LC_ALL=C sort
}

# component_project WORLD SDK FOLDER: lays out in FOLDER what a project of a user has beside its
# source: weir-sdk/ and wit/, and worlds/ of those of the tests, if one is wanted.
component_project() {
    cp -r "$root/$2" "$3/weir-sdk" && cp -r "$root/wit" "$3/wit" || return
    [ "$1" != - ] || return 0
    mkdir -p "$3/worlds/deps/weir-reactive" && cp "$root"/tests/guests/wit/*.wit "$3/worlds/" &&
        cp -r "$root"/wit/deps/. "$3/worlds/deps/" &&
        cp "$root"/wit/*.wit "$3/worlds/deps/weir-reactive/"
}

# component_fill_SUFFIX MAKER WORLD SOURCE FOLDER: makes FOLDER/guest.wasm. The source is alone in a
# folder: what is beside it in its own must not be found by an import.
component_fill_js() {
    local arguments=()
    [ "$2" = - ] || arguments=(--wit "$4/project/worlds" --world "$2")
    mkdir "$4/project" && component_project "$2" sdk/js "$4/project" || return
    cp "$3" "$4/project/guest.js" && ln -s "$1/node_modules" "$4/project/" || return
    "$1/node" "$4/project/weir-sdk/build.mjs" "$4/project/guest.js" -o "$4/guest.wasm" \
        "${arguments[@]}" && rm -r "$4/project"
}

component_fill_py() {
    local arguments=()
    [ "$2" = - ] || arguments=(--wit "$4/project/worlds" --world "$2")
    mkdir "$4/project" && component_project "$2" sdk/python "$4/project" || return
    cp "$3" "$4/project/guest_main.py" || return
    "$1/bin/python" "$4/project/weir-sdk/build.py" "$4/project/guest_main.py" -o "$4/guest.wasm" \
        "${arguments[@]}" && rm -r "$4/project"
}
