# The image: one static binary, and no shell, no package, no privilege.
#
#   docker build -t weir .
#   docker build -t weir --build-arg VERSION="$(git describe --tags --always --dirty)" .
#
# It needs BuildKit, the default since Docker 23, or Podman. accept runs these
# instructions without either, so what it does not know it refuses.

# The compiler runs on the builder's own platform and builds for the target's.
# Debian's release does not matter to a static binary.
FROM --platform=$BUILDPLATFORM golang:1.26.8-trixie AS build
ARG TARGETARCH
# What "weir version" and the log say. .git is not in the context.
ARG VERSION=dev
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOARCH="$TARGETARCH" make rootfs VERSION="$VERSION"

FROM scratch
COPY --from=build /src/bin/rootfs/ /
# A number, so that Kubernetes' runAsNonRoot can tell that it is not root.
USER 65534:65534
# The port of the examples. The admin pages are on loopback, inside.
EXPOSE 8080
# SIGTERM, which docker stop sends, drains. No HEALTHCHECK: a program for it
# would have to be in the image, and weir has no command for it yet.
ENTRYPOINT ["/weir"]
CMD ["run", "-config", "/etc/weir/weir.yaml"]
