# The server: review page and HTTP API. `docker build -t terazi .`; docs/deploy.md says how to run it.
# Pin BASE by digest where you build (`docker buildx imagetools inspect python:3.11-slim-bookworm` prints it).
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# `ui` is page and API, without torch; `ui,local` adds torch and transformers for the local backend.
ARG EXTRAS=ui
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY review_data review_data/
COPY service service/
COPY finetune finetune/
COPY ui ui/
RUN python -m venv /opt/terazi \
 && /opt/terazi/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".[${EXTRAS}]"

FROM ${BASE}
# git reads the repositories that are mounted for review; they belong to other users than the server's.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/* \
 && git config --system --add safe.directory '*' \
 && useradd --uid 10001 --no-create-home --home-dir /data terazi \
 && install -d -o terazi -g terazi /data
COPY --from=build /opt/terazi /opt/terazi
ENV PATH=/opt/terazi/bin:$PATH \
    HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    TERAZI_HOST=0.0.0.0 \
    TERAZI_PORT=8765 \
    TERAZI_STORE=/data/terazi.db
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8765
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"TERAZI_PORT\"]}/readyz', timeout=4)"]
ENTRYPOINT ["terazi"]
CMD ["serve"]
