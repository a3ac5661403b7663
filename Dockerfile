# The base is an argument, so that it can be pinned to a digest or taken from a registry of one's own.
ARG BASE_IMAGE=node:24-bookworm-slim

FROM ${BASE_IMAGE} AS manifest
WORKDIR /app
COPY package.json package-lock.json ./

# The compiler only: what is optional are binaries of PostgreSQL and of the linter, for tests.
FROM manifest AS build
RUN npm ci --omit=optional --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY metrics metrics
COPY sql sql
COPY db db
COPY proxy proxy
COPY backfill backfill
COPY migration migration
COPY cli cli
RUN npm run build && rm dist/tsconfig.tsbuildinfo

FROM manifest AS dependencies
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM ${BASE_IMAGE} AS runtime
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="pgtandem" \
      org.opencontainers.image.description="Online schema change proxy for PostgreSQL: old and new columns are written in tandem until the database has proved every row." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
COPY package.json LICENSE ./
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
RUN ln -s /app/dist/cli/main.js /usr/local/bin/pgtandem

# In a container the addresses are those that others reach it by; PGTANDEM_UPSTREAM is yours to give.
ENV NODE_ENV=production \
    PGTANDEM_LISTEN=0.0.0.0:6432 \
    PGTANDEM_METRICS=0.0.0.0:9187
EXPOSE 6432 9187
USER node
# On SIGTERM the proxy takes no new clients and lets running statements finish.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PGTANDEM_METRICS.split(':').pop()}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["pgtandem"]
CMD ["proxy"]
