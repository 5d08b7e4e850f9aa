# Two stages: every download is checked against the lock's hashes, and only what runs reaches the image.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN pip download --quiet --no-cache-dir --require-hashes --dest /wheels -r requirements.lock
COPY . .
RUN pip install --quiet --no-cache-dir --no-index --find-links /wheels hatchling \
 && pip wheel --quiet --no-index --no-build-isolation --no-deps --wheel-dir /wheels . \
 && python -m venv /opt/toybox \
 && /opt/toybox/bin/pip install --quiet --no-cache-dir --no-index --find-links /wheels toybox

FROM python:3.11-slim
COPY --from=build /opt/toybox /opt/toybox
RUN useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin toybox \
 && install --directory --owner=toybox --group=toybox --mode=0700 /data /run/toybox
ENV PATH=/opt/toybox/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TOYBOX_DATA_DIR=/data \
    TOYBOX_RUN_DIR=/run/toybox \
    TOYBOX_PORT=8000 \
    TOYBOX_PROBE_PORT=8000
USER toybox
WORKDIR /data
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["toybox", "up"]
