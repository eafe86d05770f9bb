ARG PYTHON_IMAGE=python:3.13-slim


# The wheel, with the page in it. Node and the build backend come from the lock files and stay here.
FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /source
COPY requirements-build.lock requirements-node.lock ./
RUN pip install --no-cache-dir --root-user-action=ignore --only-binary :all: --require-hashes \
    -r requirements-build.lock -r requirements-node.lock
COPY . .
RUN pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheel .


# What runs: a virtual environment that holds the locked dependencies and the wheel, without pip.
FROM ${PYTHON_IMAGE} AS environment
COPY requirements.lock /
RUN python -m venv --without-pip /app \
    && pip --python /app/bin/python install --no-cache-dir --no-compile --only-binary :all: \
    --require-hashes -r /requirements.lock
COPY --from=wheel /wheel /wheel
# Bytecode is bound to its source by no time stamp, since copying between stages may round that.
RUN pip --python /app/bin/python install --no-cache-dir --no-compile --no-deps --no-index \
    /wheel/*.whl \
    && python -m compileall -q --invalidation-mode unchecked-hash /app


FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="SensorFlow Server" \
      org.opencontainers.image.description="A self-hosted sensor server: every acknowledged reading is safe on disk and on every screen in milliseconds." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"
COPY --from=environment /app /app
# Python's own bytecode is not in its image, and no user of this one could write it.
RUN python -m compileall -q -x '/(site-packages|idlelib|test|tkinter)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
ENV PATH=/app/bin:$PATH \
    DATA_DIR=/data
# So that the default DATA_DIR, ./data, is the volume too, for who empties or copies the variable.
WORKDIR /
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-ISc", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8000), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["sensorflow"]
CMD ["serve"]
