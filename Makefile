# The two commands of the README, and what they need.

CARGO ?= cargo
STORE ?= dir

# Tests wait for daemons more than they compute.
export RUST_TEST_THREADS ?= 8

# Releases of Debian whose programs are newer.
RELEASES ?= trixie forky
NEWER = haproxy etcd-server etcd-client nginx libnginx-mod-stream apache2-bin systemd promtool

# Where `make install` puts things. DESTDIR is a root that is packed up later.
PREFIX ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
# Where cargo builds.
TARGET = $(or $(CARGO_TARGET_DIR),target)
# The binary that is installed.
BINARY ?= $(TARGET)/release/sidekick
# The binary that is packed up: the one of `make dist`, unless BINARY names another.
PACKED = $(if $(filter file,$(origin BINARY)),$(TARGET)/dist/sidekick,$(BINARY))

# cargo with the linker that puts functions in order.
DIST = env "CARGO_TARGET_$$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)_LINKER=$(CURDIR)/contrib/link-in-order.sh" $(CARGO)

# What `make bench` measures beside ours: another renderer's command line, its name, and a directory of its files.
PEER ?=
PEER_NAME ?=
PEER_FILES ?=
export PEER PEER_NAME PEER_FILES

.PHONY: demo test test-versions build dist static deb install uninstall lint ci-extra man bench bench-hitless instructions \
	install-dist install-build install-demo install-test install-ci install-static install-deb install-package-test

demo: install-build install-demo
	$(CARGO) build --release
	contrib/demo.sh $(STORE)

test: install-build install-test
	$(CARGO) test

# The tests of what runs, with newer programs first in the PATH.
test-versions: install-build install-test
	@for release in $(RELEASES); do \
		contrib/debian.sh $$release $(NEWER) || exit 1; \
		usr=$(CURDIR)/target/debian/$$release/usr; \
		for program in 'haproxy -v' 'nginx -v' 'apache2 -v'; do $$usr/sbin/$$program 2>&1 | head -n 1; done; \
		$$usr/bin/etcd --version | head -n 1; \
		PATH="$$usr/sbin:$$usr/bin:$$PATH" $(CARGO) test --test it || exit 1; \
	done

build: install-build
	$(CARGO) build --release

# The binary with the functions that are used side by side, in target/dist: it takes four megabytes of memory less.
dist: install-build install-dist
	$(DIST) build --profile dist

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

# What CI looks at besides: the minimum Rust version, dependencies, scripts, spelling, the size of the binary.
ci-extra: install-build install-ci
	.ci/extra $(STEPS)

# A binary without any library of the system, for any Linux of this machine's kind.
static: install-build install-static
	$(CARGO) build --release --target $(shell uname -m)-unknown-linux-musl

# The manual pages, in target/man, from the binary that `make build` has made.
man: $(BINARY)
	$(BINARY) man target/man

# A Debian package, in target/debian.
deb: $(if $(filter file,$(origin BINARY)),dist,$(BINARY)) install-deb
	contrib/deb.sh "$(PACKED)"

install: $(BINARY)
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) contrib/make-install.sh install $(BINARY)

# What `make install` has put there; files of configuration stay.
uninstall:
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) contrib/make-install.sh uninstall

$(TARGET)/release/sidekick:
	@$(MAKE) --no-print-directory build

# How fast and how large it is, beside what no program can do without and beside PEER='confd …'. Twenty minutes on a quiet
# machine, or three minutes with ARGS=--quick; ARGS=--write puts the table and the plot into the documents.
bench: install-test dist
	@export SIDEKICK_BINARY="$$(realpath "$(TARGET)/dist/sidekick")" && for bench in latency runtime scale; do \
		$(CARGO) bench --bench $$bench -- $(ARGS) || exit 1; \
	done

# Whether the inner work takes more instructions than recorded; ARGS=--write records them anew.
instructions: install-build
	@contrib/install.sh valgrind:valgrind
	$(DIST) run --quiet --profile dist --package instructions -- $(ARGS)

# Whether requests are lost; a quarter of an hour, or two minutes a variant with ARGS=--quick. Machines that die take root.
bench-hitless: install-build install-test
	$(CARGO) bench --bench hitless -- $(ARGS)

# The etcd client is generated from its protocol's description, by protoc.
install-build:
	@contrib/install.sh protoc:protobuf-compiler /usr/include/google/protobuf/descriptor.proto:libprotobuf-dev

install-demo:
	@contrib/install.sh haproxy:haproxy curl:curl $(if $(filter etcd,$(STORE)),etcd:etcd-server etcdctl:etcd-client)

# Older and newer proxies are looked at too, where Debian's mirror has it: the tests say what they leave out without it.
# Prometheus and promtool judge the metrics, and are unpacked without what their package brings along. So are the programs of
# the tutorial that are not installed for another test.
install-test:
	@contrib/install.sh etcd:etcd-server etcdctl:etcd-client haproxy:haproxy nginx:nginx-light openssl:openssl curl:curl unshare:util-linux ip:iproute2 script:bsdutils systemd-analyze:systemd \
		/usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream apache2:apache2-bin php:php-cli mariadbd:mariadb-server-core dnsmasq:dnsmasq-base \
		memcached:memcached patchelf:patchelf bindfs:bindfs chromium:chromium zsh:zsh fish:fish mandoc:mandoc lexgrog:man-db groff:groff-base
	@contrib/debian.sh bullseye haproxy nginx-light libnginx-mod-stream apache2-bin || true
	@contrib/debian.sh trixie $(NEWER) || true
	@contrib/prometheus.sh || true
	@contrib/tutorial.sh || true

install-dist:
	@contrib/install.sh valgrind:valgrind etcd:etcd-server etcdctl:etcd-client

install-static:
	@contrib/install.sh musl-gcc:musl-tools
	@rustup target add $(shell uname -m)-unknown-linux-musl

install-deb:
	@contrib/install.sh dpkg-deb:dpkg dpkg-shlibdeps:dpkg-dev
	@$(CARGO) deb --version >/dev/null 2>&1 || $(CARGO) install --quiet --locked cargo-deb

# The Debian on which the tests install, upgrade and remove the package.
install-package-test: install-deb
	@contrib/install.sh debootstrap:debootstrap
	@contrib/root.sh bookworm systemd systemd-sysv dbus haproxy etcd-server etcd-client openssl curl python3 procps || true

install-ci:
	@contrib/install.sh shellcheck:shellcheck codespell:codespell valgrind:valgrind
