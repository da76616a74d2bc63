# One image for every service and for the modem client; docker-compose.yml says which command and user each has.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY tools/uv.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /uv && /uv/bin/pip install -q --require-hashes --only-binary :all: -r uv.txt
COPY requirements-run.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    /uv/bin/uv venv -q /app/venv \
    && VIRTUAL_ENV=/app/venv /uv/bin/uv pip install -q --no-deps --require-hashes --only-binary :all: -r requirements-run.lock
COPY pyproject.toml ./
COPY protocol protocol
COPY backbone backbone
COPY ingest ingest
COPY udp-server udp-server
COPY flask-app flask-app
COPY modem-client modem-client
COPY virtual-sim virtual-sim
COPY cli cli
RUN --mount=type=cache,target=/root/.cache/uv \
    VIRTUAL_ENV=/app/venv /uv/bin/uv pip install -q --no-deps \
    ./protocol ./backbone ./ingest ./udp-server ./flask-app ./modem-client ./virtual-sim ./cli

FROM ${PYTHON_IMAGE}
ENV PATH=/app/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# each service has a user of its own, so that each can read its own secrets only; the modem client keeps its outbox in /data
RUN install -d -m 0700 -o 10005 -g 10005 /data
COPY --from=build /app /app
COPY tools/compose_secrets.py /app/
WORKDIR /app
USER 10000:10000
CMD ["python", "-m", "simway_flask_app", "web"]
