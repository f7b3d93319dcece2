# SPDX-License-Identifier: Apache-2.0
FROM swift:6.2-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends pkg-config liblua5.4-dev libsimdjson-dev libsqlite3-dev \
      libcurl4-openssl-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# What is fetched changes less often than what is written.
COPY Package.* ./
RUN swift package resolve
COPY . .
RUN swift build -c release --static-swift-stdlib --product fairlead \
 && strip --strip-unneeded -o /fairlead "$(swift build -c release --static-swift-stdlib --show-bin-path)/fairlead"

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl libcurl4 liblua5.4-0 libsimdjson14 libsqlite3-0 \
      libstdc++6 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 64123 --home-dir /var/lib/fairlead --create-home --shell /usr/sbin/nologin fairlead
COPY --from=build /fairlead /usr/bin/fairlead
COPY packaging/routes.conf /etc/fairlead/routes.conf
COPY Plugins /usr/share/fairlead/Plugins
RUN mkdir -p /etc/fairlead/conf.d /etc/fairlead/Plugins
USER 64123
WORKDIR /var/lib/fairlead
VOLUME /var/lib/fairlead
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:8080/readyz"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["fairlead"]
CMD ["serve", "--log-format", "json", "/etc/fairlead/routes.conf"]
