# Client that sends pictures to a chain: docker build -f docker/client.Dockerfile -t shardline/client .
# `make images` builds it from a folder of wheels, without internet.

ARG BASE=docker.io/library/python:3.11-slim-bookworm

# an empty stage: packages come from pip's index, unless --build-context wheels=FOLDER replaces it
FROM scratch AS wheels

FROM ${BASE} AS packages
COPY docker/install.sh docker/constraints.txt docker/client.txt /build/
RUN --mount=type=bind,from=wheels,target=/wheels sh /build/install.sh /build/client.txt

FROM ${BASE} AS project
WORKDIR /app
COPY shardline/__init__.py shardline/
COPY wire/ shardline/wire/
COPY client/ shardline/client/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash .

FROM ${BASE}
COPY --from=packages /opt/venv /opt/venv
COPY --from=project /app /app
# only /tmp may be written; the user needs no entry in /etc/passwd
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp TMPDIR=/tmp USER=shardline
USER 65532:65532
# users mount their pictures here, so that they have the same names as outside
WORKDIR /pictures
ENTRYPOINT ["python", "-m", "shardline.client.request"]
CMD ["--help"]
ARG BASE
ARG VERSION=unversioned
LABEL org.opencontainers.image.title="shardline/client" \
      org.opencontainers.image.description="Client that sends pictures to a Shardline chain" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
