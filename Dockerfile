# Needs BuildKit, which docker compose and Docker 23 and newer use by themselves.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# Sources from an archive may be older than what an earlier build left in the cache, and cargo goes by their times.
# The target folder stays in the cache, so the program is copied out in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --release --locked \
    && cp target/release/pictier /usr/local/bin/pictier

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Pictier" \
      org.opencontainers.image.description="Image upload with account tiers" \
      org.opencontainers.image.licenses="MIT"
# The home folder becomes the volume, so nothing of /etc/skel is put there.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --skel /dev/null --home-dir /data pictier
COPY LICENSE /usr/share/doc/pictier/copyright
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
