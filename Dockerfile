# syntax=docker/dockerfile:1
#
#   docker build --target serve -t hdnet:serve .
#   docker run --read-only --tmpfs /tmp -v hdnet-cache:/var/cache/hdnet -p 8000:8000 \
#     -e MLFLOW_TRACKING_URI=http://HOST:5000 hdnet:serve
#
#   docker build --target train -t hdnet:train .
#   docker run -v "$PWD":/app --user "$(id -u):$(id -g)" hdnet:train dvc repro
#
# TORCH_INDEX selects PyTorch's build: CPU by default, https://download.pytorch.org/whl/cu130 for CUDA 13.

ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS base
# USER: DVC asks for a name, which the number of `--user` need not have.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/home/hdnet \
    USER=hdnet \
    MLFLOW_DISABLE_TELEMETRY=true \
    DVC_NO_ANALYTICS=1
RUN groupadd --gid 10001 hdnet \
    && useradd --uid 10001 --gid 10001 --create-home --no-log-init hdnet

FROM base AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# pip's own place for its cache is below HOME, whose owner is another user than the one that builds.
ENV PIP_CONSTRAINT=/src/constraints.txt \
    PIP_EXTRA_INDEX_URL=${TORCH_INDEX} \
    PIP_CACHE_DIR=/var/cache/pip \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
# Empty packages instead of the code: a change of code does not reinstall the dependencies.
RUN python -m venv /opt/venv \
    && mkdir hdnet pipelines serving \
    && touch hdnet/__init__.py pipelines/__init__.py serving/__init__.py

# Versions come from constraints.txt.
FROM build AS build-serve
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/var/cache/pip pip install ".[serve]"
COPY hdnet hdnet
COPY pipelines pipelines
COPY serving serving
RUN pip install --no-cache-dir --no-deps --force-reinstall .

FROM build AS build-train
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/var/cache/pip pip install ".[pipeline,tune,serve]"

FROM base AS train
# git is for DVC and the runs' lineage tags; a mounted checkout has another owner.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory '*'
COPY --from=build-train /opt/venv /opt/venv
WORKDIR /app
COPY . .
# Editable: a checkout mounted over /app is the code that runs. Without a checkout DVC works without git.
RUN pip install --no-cache-dir --no-deps --editable . \
    && mkdir -p .dvc \
    && printf '[core]\n    no_scm = true\n' > .dvc/config.local \
    && chown -R hdnet:hdnet /app \
    && chmod 0777 /home/hdnet
USER 10001:10001
CMD ["dvc", "repro"]

# Tracking server of compose.yaml, without torch and hdnet.
FROM base AS build-mlflow
ENV PIP_CONSTRAINT=/src/constraints.txt \
    PIP_CACHE_DIR=/var/cache/pip \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt ./
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv /opt/venv && pip install mlflow 'psycopg[binary]' boto3

FROM base AS mlflow
COPY --from=build-mlflow /opt/venv /opt/venv
WORKDIR /home/hdnet
USER 10001:10001
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000"]

FROM base AS serve
COPY --from=build-serve /opt/venv /opt/venv
# Written to: the model cache here, /tmp for large uploads.
RUN install --directory --owner=10001 --group=10001 /var/cache/hdnet
VOLUME /var/cache/hdnet
ENV HDNET_HOST=0.0.0.0 \
    HDNET_PORT=8000 \
    HDNET_CACHE_DIR=/var/cache/hdnet \
    HDNET_LOG_FORMAT=json \
    MPLCONFIGDIR=/tmp/matplotlib \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false \
    MLFLOW_ALLOW_MODEL_CODE_EXECUTION=false
WORKDIR /home/hdnet
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['HDNET_PORT'] + '/health/live', timeout=4)"]
CMD ["python", "-m", "serving"]
