# weir: build, test, measure. Every target can be run alone.
#
#   make build    the binary, static, as bin/weir
#   make rootfs   the files of the container image, in bin/rootfs or ROOTFS=dir; the Dockerfile's build
#   make test     all that must pass before a change goes in (under 12 minutes on two cores)
#   make accept   the promises of the README, measured; takes its time
#   make screenshots  the pictures in docs/dashboard.md
#   make bench    microbenchmarks, then the side-by-side runs

GO       ?= go
FUZZTIME ?= 4s
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# Three packages at a time: half of their time the tests wait. They use real sockets and
# real time limits, so more of them at once would measure the machine. vet has a
# target of its own, which looks for more than go test's does.
GOTEST := $(GO) test -p 3 -vet=off -timeout 10m

# The packages whose tests take the longest begin first.
LONG := ./proxy/mysql ./cmd/weir ./proxy/http1 ./internal/sock ./tcpstat

.NOTPARALLEL:
.PHONY: build rootfs test need format vet lint race e2e beside netconn darwin fuzz accept bench screenshots clean

# Static, and the same bytes from the same source, VERSION and Go release, in
# whatever directory and with .git or without: the version comes in by VERSION.
GOBUILD := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'

build:
	$(GOBUILD) -o bin/weir ./cmd/weir

ROOTFS := bin/rootfs

# Everything that the container image holds: the binary, an empty directory to
# mount the configuration in, and the name of the user it runs as. It needs no
# CA certificates, as weir makes no TLS connections, no time zones, as it logs
# in UTC there, and no nsswitch.conf, as Go's resolver knows the usual order.
# hosts and resolv.conf are the container runtime's to give.
rootfs:
	@if [ '$(ROOTFS)' = bin/rootfs ]; then rm -rf bin/rootfs; fi
	@if [ -n "$$(ls -A '$(ROOTFS)' 2>/dev/null)" ]; then \
		echo "ROOTFS=$(ROOTFS): is not empty, and what is there would get into the image; name a new or an empty directory"; exit 1; \
	fi
	install -d -m 755 '$(ROOTFS)' '$(ROOTFS)/etc' '$(ROOTFS)/etc/weir'
	GOOS=linux $(GOBUILD) -o '$(ROOTFS)/weir' ./cmd/weir
	echo 'nobody:x:65534:65534:nobody:/:/nonexistent' >'$(ROOTFS)/etc/passwd'
	echo 'nogroup:x:65534:' >'$(ROOTFS)/etc/group'
	chmod 755 '$(ROOTFS)/weir'
	chmod 644 '$(ROOTFS)/etc/passwd' '$(ROOTFS)/etc/group'

test: need format vet race beside netconn fuzz

# e2e mostly waits, and lint and darwin only compute: they get what it leaves.
beside:
	@.ci/beside '$(MAKE) e2e' 'nice -n 19 $(MAKE) lint darwin'

# The programs that tests compare with and look through.
need:
	@.ci/need

format:
	@bad="$$(gofmt -l .)"; if [ -n "$$bad" ]; then echo "gofmt -w is needed on:"; echo "$$bad"; exit 1; fi

# Files that a tag adds or leaves out are in few packages.
vet:
	$(GO) vet ./...
	$(GO) vet -tags weir_netconn $(call tagged,weir_netconn)
	$(GO) vet -tags bench ./bench/...

# staticcheck has a module of its own, so that nothing of it is in weir's go.mod.
# Where it cannot be fetched the rest must still be testable: that is said, and
# findings are an error.
lint:
	@if $(GO) tool -modfile=.ci/tools/go.mod staticcheck -version; then \
		$(GO) tool -modfile=.ci/tools/go.mod staticcheck ./...; \
	else \
		echo "staticcheck could not be fetched: it was NOT run"; \
	fi

race:
	$(GOTEST) -race $$($(GO) list $(LONG) ./... | grep -v /accept)

# The built weir beside nginx, HAProxy, wrk and the rest, without the race
# detector, which measures another program. Three parts run at the same time, as
# each waits more than it computes: the forecast, which takes a minute and next to
# no processor; what PAGES names; all others. A new test is one of the others.
e2e:
	$(GOTEST) -run '^$$' ./accept/...
	@.ci/beside \
		'$(GOTEST) -run "$(FORECAST)" ./accept' \
		'$(GOTEST) -run "$(PAGES)" -skip "$(FORECAST)" ./accept' \
		'$(GOTEST) -skip "$(FORECAST)|$(PAGES)" ./accept/...'

FORECAST := ^TestAcceptTheEndOfThePortsIsForecast
PAGES := ^TestAccept.*(Dashboard|Page|Doctor|FirstFrame|Status|NoRung|ComesBackSees|Image|PrometheusRules|HAProxy|Drivers)

# The tests again without the raw socket path, where sockets have a part. Those of
# allocations and of time run here too, which the race detector distorts. Of the
# accept tests those that meet a client's socket and do not take long; make accept
# runs all of them once more.
netconn:
	$(GOTEST) -tags weir_netconn -run '^$$' ./accept
	@.ci/beside \
		'$(GOTEST) -tags weir_netconn $(LONG) $(NETCONN)' \
		'$(GOTEST) -tags weir_netconn -run "$(CLIENTS)" ./accept'

# The packages that internal/sock is part of, and those whose code names the tag or
# that have tests without the race detector.
NETCONN = $$({ $(GO) list -f "{{.ImportPath}} {{.Deps}} " ./... | sed -n "s,^\(weir[^ ]*\) .*[[ ]weir/internal/sock[] ].*,\1,p"; \
	echo $(call tagged,!race) $(call tagged,weir_netconn) | tr " " "\n" | sed "s,^\./,weir/,"; } | grep -v /accept | sort -u)

# Packages in which a build constraint names a tag.
tagged = $$(grep -rlE --include="*.go" "^//go:build .*$(1)" . | xargs -n 1 dirname | sort -u)

CLIENTS := ^TestAccept(ShortConnections|HalfClosing|AClient|ClientsThat|ClientsWithout|Slow|Reordered|Wild|Unasked|Stopped|Killed|AKilled|HAProxy|KillLoses|SIGTERM|RequestsThat|LoggedIn|NothingLeaksThroughAConnection)

# There is no such machine here: that it type-checks is what can be known.
darwin:
	GOOS=darwin $(GO) vet ./...

# Every fuzz target for a few seconds; the seeds have run as tests already.
fuzz:
	@.ci/fuzz $(FUZZTIME)

accept: need
	$(GO) test -count=1 -v -timeout 60m ./accept/... -hold
	$(GO) test -count=1 -timeout 30m -tags weir_netconn ./accept/...
	$(GO) test -tags bench -count=1 -v -timeout 30m ./bench/...

bench: need
	$(GO) test -run '^$$' -bench . -benchmem -p 1 ./...
	$(GO) test -tags bench -count=1 -v -timeout 30m ./bench/...

# Pictures of the dashboard under load: all widths in bin/screenshots, and those
# that docs/dashboard.md shows. A person looks at them before they go in.
screenshots: need
	@mkdir -p bin/screenshots
	$(GO) test ./accept -count=1 -run '^TestAcceptDashboardPictures$$' -screenshots ../bin/screenshots
	cp bin/screenshots/dashboard-load-1440-light.png docs/dashboard-light.png
	cp bin/screenshots/dashboard-load-1440-dark.png docs/dashboard-dark.png
	cp bin/screenshots/dashboard-overload-1440-light.png docs/dashboard-overload.png
	cp bin/screenshots/dashboard-down-420-dark.png docs/dashboard-narrow.png

clean:
	rm -rf bin
