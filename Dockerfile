# One image for all binaries. Build it with `docker compose build`, which passes the versions that deploy/images.yaml pins.
#   --target service     the binaries and the geo databases, for real Kafka and ClickHouse (what docker-compose.yml uses)
#   --target standalone  the same and the embedded ClickHouse engine, for `countersign up` (the default)
# The base has glibc because the engine does; musl cannot load it.
ARG GO_IMAGE
ARG NODE_IMAGE
ARG BASE_IMAGE

FROM ${NODE_IMAGE} AS assets
WORKDIR /src
COPY tools/assets tools/assets
ENV COUNTERSIGN_ASSETS=/assets
RUN tools/assets/install.sh geo
RUN tools/assets/install.sh engine

FROM ${NODE_IMAGE} AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY web .
RUN npm run build

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
COPY --from=web /src/web/dist web/dist
ARG VERSION=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/ ./cmd/...

FROM ${BASE_IMAGE} AS service
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 countersign \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/countersign --shell /usr/sbin/nologin countersign \
 && install -d -o countersign -g countersign /var/lib/countersign \
 && install -d -m 0700 -o countersign -g countersign /var/lib/countersign/signing-keys
COPY LICENSE NOTICE /usr/share/doc/countersign/
# The programs look for the assets in .cache/assets above themselves, as in a source tree.
COPY --from=assets /assets/node_modules/@ip-location-db /opt/countersign/.cache/assets/node_modules/@ip-location-db
COPY --from=build /out/ /opt/countersign/bin/
ENV PATH=/opt/countersign/bin:$PATH
USER 10001:10001
WORKDIR /var/lib/countersign
CMD ["countersign", "help"]

FROM service AS standalone
COPY --from=assets /assets/node_modules/@chdb /opt/countersign/.cache/assets/node_modules/@chdb
VOLUME /var/lib/countersign
CMD ["countersign", "up", "--api", "0.0.0.0:8080", "--ingest", "0.0.0.0:8081", "--courier", "0.0.0.0:8443", "--metrics", "0.0.0.0:9464"]
