# Server of one stage of a chain, with torch: docker build -f docker/shard.Dockerfile -t shardline/shard .
# With --build-arg TORCH=cpu torch's CPU build is installed, without NVIDIA's libraries: the image shardline/shard-cpu.
# `make images` builds both from a folder of wheels, without internet.

ARG BASE=docker.io/library/python:3.11-slim-bookworm

# an empty stage: packages come from pip's index, unless --build-context wheels=FOLDER replaces it
FROM scratch AS wheels

FROM ${BASE} AS packages
ARG TORCH=cuda
ARG TORCH_INDEX=
COPY docker/install.sh docker/constraints.txt docker/shard.txt /build/
RUN --mount=type=bind,from=wheels,target=/wheels sh /build/install.sh /build/shard.txt

FROM ${BASE} AS project
WORKDIR /app
COPY shardline/__init__.py shardline/
COPY wire/ shardline/wire/
COPY storage/ shardline/storage/
COPY tasks/ shardline/tasks/
COPY partition/ shardline/partition/
COPY predictors/ shardline/predictors/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash .

FROM ${BASE}
COPY --from=packages /opt/venv /opt/venv
COPY --from=project /app /app
# only /tmp may be written; the user needs no entry in /etc/passwd
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp TMPDIR=/tmp USER=shardline
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=6 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/v2/health/ready', timeout=4)"]
ENTRYPOINT ["python", "-m", "shardline.predictors.shard"]
CMD ["--model_dir=/mnt/models", "--model_name=shard", "--enable_grpc=false"]
ARG BASE
ARG VERSION=unversioned
LABEL org.opencontainers.image.title="shardline/shard" \
      org.opencontainers.image.description="Serves one shard of a PyTorch vision model with KServe" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
