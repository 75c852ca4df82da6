# Everything there is to do with this repository: `./just` lists it. CI calls nothing else.

set shell := ["bash", "-euo", "pipefail", "-c"]

target := env("CARGO_TARGET_DIR", justfile_directory() / "target")

[private]
default:
    @'{{ just_executable() }}' --justfile '{{ justfile() }}' --list --unsorted

# See it work: local demo targets, four native monitors and a plugin, for some seconds; the last words tell how to go on
[group('run')]
demo seconds="15": build-plugins
    cargo build --package lapwing --bin lapwing --example demo_targets
    '{{ target }}/debug/examples/demo_targets' --run \
        '{{ target }}/debug/lapwing' run --config examples/monitors.toml --plugins plugins/dist --for {{ seconds }}s
    @echo 'Next: `./just up` keeps watching; `./just lapwing --help` tells what else there is; docs/writing-plugins.md adds a kind'

# Start the demo targets and keep watching them until Ctrl-C
[group('run')]
up: build-plugins
    cargo build --package lapwing --bin lapwing --example demo_targets
    '{{ target }}/debug/examples/demo_targets' --run \
        '{{ target }}/debug/lapwing' run --config examples/monitors.toml --plugins plugins/dist

# Run `lapwing` with these arguments: `./just lapwing check tcp --config '{"host":"127.0.0.1","port":22}'`
[group('run')]
[positional-arguments]
lapwing *arguments:
    @cargo run --quiet --package lapwing -- "$@"

# Build the host, optimised
[group('build')]
build:
    cargo build --release

# Build every plugin to plugins/dist/<name>.wasm, and the tests' guests to plugins/dist/fixtures/
[group('build')]
build-plugins:
    #!/usr/bin/env bash
    set -euo pipefail
    if [ ! -d "$(rustc --print target-libdir --target wasm32-wasip2)" ]; then
        rustup target add wasm32-wasip2
    fi
    # The package of plugins/<name> is `lapwing-<name>`, its library `<name>`.
    plugins=()
    for manifest in plugins/*/Cargo.toml; do
        name=$(basename "$(dirname "$manifest")")
        case $name in sdk | fixtures) ;; *) plugins+=("$name") ;; esac
    done
    cargo build --profile plugin --target wasm32-wasip2 --lib --examples \
        --package fixtures "${plugins[@]/#/--package=lapwing-}"

    # Files that did not change keep their time; those without a source go.
    place() {
        cmp --silent "$1" "$2" || cp "$1" "$2"
        placed+=("$2")
    }
    placed=()
    mkdir -p plugins/dist/fixtures
    for name in "${plugins[@]}"; do
        place "{{ target }}/wasm32-wasip2/plugin/${name//-/_}.wasm" "plugins/dist/$name.wasm"
    done
    for source in plugins/fixtures/examples/*.rs; do
        name=$(basename "$source" .rs)
        place "{{ target }}/wasm32-wasip2/plugin/examples/$name.wasm" "plugins/dist/fixtures/$name.wasm"
    done
    # In other languages, with tools of their own: needs npm and python3.
    polyglot=(plugins/fixtures/polyglot/*.js plugins/fixtures/polyglot/*.py)
    plugins/fixtures/polyglot/build.sh '{{ target }}/polyglot' '{{ target }}/polyglot/out' "${polyglot[@]}"
    for source in "${polyglot[@]}"; do
        name=$(basename "${source%.*}")
        place "{{ target }}/polyglot/out/$name.wasm" "plugins/dist/fixtures/$name.wasm"
    done
    # Examples in other languages are built by `lapwing plugin build`, as their readers would, when something is newer.
    mkdir -p plugins/dist/examples
    for manifest in examples/plugins/*/plugin.toml; do
        folder=$(dirname "$manifest") name=$(basename "$(dirname "$manifest")")
        built=plugins/dist/examples/$name.wasm
        if [ ! -f "$built" ] || [ -n "$(find "$folder" sdk wit/v1 host/app/src/cli/plugin/build host/app/src/cli/plugin/build.rs \
            -type f -newer "$built" -not -path '*/vendor/*' -not -path '*/wit/*' -not -path '*/__pycache__/*' -print -quit)" ]; then
            rm -rf "$folder/vendor" "$folder/wit"
            cargo run --quiet --package lapwing -- plugin build "$folder" --output "$built" --tools '{{ target }}/lapwing-tools'
        fi
        placed+=("$built")
    done
    for file in plugins/dist/*.wasm plugins/dist/*/*.wasm; do
        case " ${placed[*]} " in *" $file "*) ;; *) rm "$file" ;; esac
    done

# Rewrite docs/reference/ and the plugins' schema files from the config types
[group('build')]
docs:
    UPDATE_REFERENCE=1 cargo test --quiet --package lapwing --bin lapwing reference
    UPDATE_SCHEMAS=1 cargo test --quiet --workspace --lib at_hand

# What a plugin costs: an instance, a call, loading; and one HTTP check native, by plugins, and by fork and exec of check_http
[group('bench')]
bench-plugin *parts: build-plugins
    @[ -x /usr/lib/nagios/plugins/check_http ] || echo 'without check_http: `apt-get install --no-install-recommends monitoring-plugins-basic` adds it'
    cargo bench --package lapwing-wasm --features bench --bench plugin -- {{ parts }}

# What a queue costs: no-op tasks of each dialect, beside a stock arq worker; near, and 2 ms away. `--only arq --tasks 20000`
[group('bench')]
bench-queue *arguments: servers
    cargo build --release --package lapwing --bin lapwing
    cargo build --release --package lapwing-queue --features testing --example delay
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$(host/queue/tests/stock/install.sh '{{ target }}/lapwing-tools')" \
        python3 bench/bench_queue.py --lapwing '{{ target }}/release/lapwing' --proxy '{{ target }}/release/examples/delay' {{ arguments }}

# What a check costs: http, https, tcp, dns and ping beside blackbox and monitoring-plugins, and 10,000 in flight. `--only https`
[group('bench')]
bench-checks *arguments: peers
    cargo build --release --package lapwing --bin lapwing
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$(host/queue/tests/stock/install.sh '{{ target }}/lapwing-tools')" \
        python3 bench/bench_checks.py --lapwing '{{ target }}/release/lapwing' {{ arguments }}

# A hundred thousand runs, a tenth of them hostile, a thousand reloads, and native checks beside them: what stays behind
[group('bench')]
storm runs="100000" reloads="1000": build-plugins
    STORM_RUNS={{ runs }} STORM_RELOADS={{ reloads }} \
        cargo test --profile bench --package lapwing-wasm --test storm -- --nocapture

# Feed each parser of untrusted text so many seconds of what breaks parsers. Installs cargo-fuzz; needs a C++ compiler
[group('check')]
fuzz seconds="60" targets="egress schema asynq_message pickle task payload loader":
    #!/usr/bin/env bash
    set -euo pipefail
    command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz
    # Fuzzers are built with switches the stable compiler keeps to itself; without a sanitizer, as this is safe code.
    export RUSTC_BOOTSTRAP=1
    for target in {{ targets }}; do
        features=(--no-default-features)
        if [ "$target" = loader ]; then features=(); fi
        mkdir -p "fuzz/corpus/$target"
        cargo fuzz run --sanitizer none "${features[@]}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
            -max_total_time={{ seconds }} -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
    done

# Run the examples of clients against a worker; needs redis-server and, once, pip for stock arq
[group('check')]
clients:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --quiet --package lapwing --bin lapwing
    PYTHONPATH=$(host/queue/tests/stock/install.sh '{{ target }}/lapwing-tools') \
        examples/clients/check.sh '{{ target }}/debug/lapwing'

# Do blackbox and monitoring-plugins say the same of the same targets? Fails at differences docs/semantics.md does not have
[group('check')]
differential *arguments: peers
    cargo build --quiet --package lapwing --bin lapwing
    PYTHONDONTWRITEBYTECODE=1 python3 bench/differential.py --lapwing '{{ target }}/debug/lapwing' {{ arguments }}

# Format the code
[group('check')]
fmt:
    cargo fmt --all

# Is the code formatted?
[group('check')]
fmt-check:
    cargo fmt --all --check

# Lints, all of them errors
[group('check')]
lint:
    # With the features that only benches and fuzzers use, or nobody would notice that those no longer compile.
    cargo clippy --workspace --all-targets --features lapwing-wasm/bench,lapwing-wasm/fuzz,lapwing-queue/fuzz -- -D warnings
    cargo check --quiet --manifest-path fuzz/Cargo.toml --target-dir '{{ target }}'

# Every test: real servers, real plugins. Installs the servers that are missing (Debian, Ubuntu)
[group('check')]
test *filter: servers build-plugins
    #!/usr/bin/env bash
    set -euo pipefail
    # Examples are no tests: those of the fixtures are guests, built above.
    targets=(--workspace --lib --bins --tests)
    if command -v cargo-nextest >/dev/null; then
        cargo nextest run --profile crowded --test-threads $((2 * {{ num_cpus() }})) "${targets[@]}" {{ filter }}
    else
        cargo test "${targets[@]}" {{ filter }}
    fi
    if [ -z '{{ filter }}' ]; then
        cargo test --workspace --doc
    fi

# What Lapwing is compared with; peers that cannot be had are told, and left out
[private]
peers: (servers "nginx=nginx")
    -@'{{ just_executable() }}' --justfile '{{ justfile() }}' servers wrk=wrk ping=iputils-ping dig=bind9-dnsutils \
        prometheus-blackbox-exporter=prometheus-blackbox-exporter \
        /usr/lib/nagios/plugins/check_http=monitoring-plugins-basic /usr/lib/nagios/plugins/check_dig=monitoring-plugins-standard

# The servers that the tests start themselves: the program (or a file), and the Debian package that has it; `more` as `program=package`
[private]
servers *more:
    #!/usr/bin/env bash
    set -euo pipefail
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
    # Debian keeps PostgreSQL's programs apart, by version.
    for folder in /usr/lib/postgresql/*/bin; do PATH=$PATH:$folder; done
    missing=()
    while read -r program package; do
        [ -z "$program" ] || command -v "$program" >/dev/null || [ -e "$program" ] || missing+=("$package")
    done <<LIST
    $(printf '%s\n' {{ more }} | tr = ' ')
    redis-server redis-server
    sshd openssh-server
    chronyd chrony
    dovecot dovecot-imapd
    /usr/lib/dovecot/pop3 dovecot-pop3d
    aiosmtpd python3-aiosmtpd
    slapd slapd
    freeradius freeradius
    faketime faketime
    unbound unbound
    snmpd snmpd
    vsftpd vsftpd
    postgres postgresql
    mariadbd mariadb-server
    unshare util-linux
    ip iproute2
    apache2 apache2-bin
    /usr/lib/apache2/modules/mod_auth_gssapi.so libapache2-mod-auth-gssapi
    /etc/gss/mech.d/mech.ntlmssp.conf gss-ntlmssp
    dockerd docker.io
    docker docker.io
    rabbitmq-server rabbitmq-server
    mosquitto mosquitto
    LIST
    if [ "${#missing[@]}" -eq 0 ]; then
        exit
    fi
    if ! command -v apt-get >/dev/null; then
        echo "the tests need the programs of these Debian packages on PATH: ${missing[*]}" >&2
        exit 69
    fi
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "please run, as root, \`apt-get install --no-install-recommends ${missing[*]}\`" >&2
            exit 77
        fi
        root=(sudo)
    fi
    "${root[@]}" apt-get update --quiet
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --quiet --yes --no-install-recommends "${missing[@]}"

# Who must not know whom: dependencies that would bend the architecture
[group('check')]
edges:
    #!/usr/bin/env bash
    set -euo pipefail
    tree() { cargo tree --edges normal,build --prefix none --format '{p}' "$@" | cut -d' ' -f1 | sort -u; }
    has() { grep --quiet --line-regexp --fixed-strings -- "$2" <<<"$1"; }
    fault() { echo "edges: $*" >&2; failed=1; }
    failed=0
    everything=$(tree --workspace)
    # forbid <package> <packages it must not reach>
    forbid() {
        local package=$1 reached
        shift
        reached=$(tree --package "$package")
        for other in "$@"; do
            # A name that is nowhere is misspelt, and would never be found.
            has "$everything" "$other" || fault "there is no package \`$other\`"
            ! has "$reached" "$other" || fault "\`$package\` must not depend on \`$other\`"
        done
    }
    forbid lapwing-model tokio redis hyper wasmtime lapwing-checks lapwing-queue lapwing-wasm lapwing
    forbid lapwing-checks redis wasmtime lapwing-queue lapwing-wasm lapwing
    forbid lapwing-wasm redis lapwing-queue lapwing
    forbid lapwing-queue hyper wasmtime lapwing-checks lapwing-wasm lapwing
    for manifest in plugins/*/Cargo.toml; do
        package=$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1)
        forbid "$package" tokio wasmtime lapwing-model lapwing-checks lapwing-queue lapwing-wasm lapwing
    done
    # The check can fail: these edges are there, and are seen.
    for edge in lapwing-checks:lapwing-model lapwing-wasm:lapwing-checks lapwing-queue:lapwing-model; do
        has "$(tree --package "${edge%:*}")" "${edge#*:}" || fault "\`$edge\` is not seen: this check sees nothing"
    done
    exit "$failed"

# Licences, advisories and sources of all dependencies; needs cargo-deny
[group('check')]
deny:
    @command -v cargo-deny >/dev/null || { echo '`cargo install --locked cargo-deny` comes first' >&2; exit 69; }
    cargo deny check

# What CI runs; with `deny` where cargo-deny is installed
[group('check')]
ci: fmt-check lint edges test
    if command -v cargo-deny >/dev/null; then cargo deny check; fi
