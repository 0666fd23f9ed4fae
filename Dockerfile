# syntax=docker/dockerfile:1
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# the manifest names the integration test and the benchmark, whose sources are not needed here
RUN mkdir tests benches && touch tests/main.rs benches/load.rs
# the registry and the target folder stay in caches, so the program is copied out in the same step
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/pictier /usr/local/bin/pictier

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Pictier" \
      org.opencontainers.image.description="Image upload with account tiers" \
      org.opencontainers.image.licenses="MIT"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /data pictier
COPY --from=build /usr/local/bin/pictier /usr/local/bin/pictier
USER 10001
WORKDIR /data
ENV BIND=0.0.0.0:8000 DATA_DIR=/data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["pictier", "healthcheck"]
ENTRYPOINT ["pictier"]
CMD ["api"]
