#!/usr/bin/env bash
# Images of the Dockerfile built and run without Docker: Debian's buildah in a chroot, as root.
#
#   apt-get install buildah debootstrap curl git
#   benchmarks/containers.sh base                     # Debian with Python, for the Dockerfile's PYTHON_IMAGE
#   benchmarks/containers.sh build serve              # also: train, mlflow
#   benchmarks/containers.sh check-serve photo.jpg    # the service, asked for the photograph's depth
#   benchmarks/containers.sh check-train              # a small `dvc repro`: the image's code, then a mounted checkout
#   benchmarks/containers.sh check-mlflow             # a run is written and read
#   benchmarks/containers.sh run mlflow COMMAND ...   # with MLFLOW_, AWS_ and HDNET_ variables of the caller
#   benchmarks/containers.sh sizes                    # Markdown table
#
# Further options of `build` go to buildah. A private package index, for example:
#
#   benchmarks/containers.sh build serve --volume /etc/pip.conf:/etc/pip.conf:ro --build-arg TORCH_INDEX=https://...
#
# HDNET_STORAGE is the folder of images and containers (default: /var/tmp/hdnet-containers); delete it when done. Every
# image and container is a whole copy: 15 GB in all, and with buildah's --layers 2 GB more an instruction. Chroot isolation has no network of its own and no read-only root;
# the images' user, environment, command, working directory and volumes are Docker's.
set -euo pipefail
cd "$(dirname "$0")/.."
storage=${HDNET_STORAGE:-/var/tmp/hdnet-containers}
scratch=$(mktemp --directory)
container=
server=

builder() { buildah --storage-driver vfs --root "$storage/images" --runroot "$storage/run" "$@"; }

finish() {
  if [ -n "$server" ]; then stop_server; fi
  if [ -n "$container" ]; then builder rm "$container" >/dev/null; fi
  container=
}
trap 'finish; rm -rf "$scratch"' EXIT

# The first process of a background container that is the image's own, below the shell and buildah.
main_process() {
  local process=$server
  while [[ "$(ps -o comm= -p "$process")" =~ ^(bash|containers|buildah|memfd|exe) ]]; do
    process=$(pgrep --parent "$process" | head -1) || return 1
  done
  echo "$process"
}

stop_server() {
  kill -TERM "$(main_process)" || true # buildah passes no signal on
  wait "$server" || true
  server=
}

# The image's command, or the words after `--`, in a new container as the image's user.
make_container() { container=$(builder from --pull-never "localhost/hdnet-$1"); }
in_container() { # [OPTION ...] -- [COMMAND ...]
  local options=() command=()
  while [ "$1" != -- ]; do options+=("$1") && shift; done
  shift
  command=("$@")
  if [ $# = 0 ]; then
    readarray -t command < <(builder inspect --format '{{range .OCIv1.Config.Cmd}}{{println .}}{{end}}' "$container")
    if [ -z "${command[-1]}" ]; then unset "command[-1]"; fi # some versions of buildah end with an empty line
  fi
  builder run --isolation chroot "${options[@]}" "$container" -- "${command[@]}"
}

await() { # URL
  for _ in $(seq 600); do
    if curl --silent --fail --output /dev/null "$1"; then return; fi
    sleep 1
  done
  echo "error: $1 does not answer" >&2
  return 1
}

make_base() { # [RELEASE]
  mkdir -p "$storage"
  debootstrap --variant=minbase --include=python3,python3-venv,python-is-python3,ca-certificates \
    "${1:-bookworm}" "$storage/debian" >"$scratch/debootstrap.log" || { tail "$scratch/debootstrap.log" && return 1; }
  rm -rf "$storage"/debian/var/cache/apt/archives/*.deb "$storage"/debian/var/lib/apt/lists/*
  container=$(builder from scratch)
  builder add --quiet "$container" "$storage/debian" / >/dev/null
  builder config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd python3 "$container"
  builder commit --quiet "$container" hdnet-python
  rm -rf "$storage/debian"
}

build() { # TARGET [OPTION ...]
  local target=$1
  shift
  builder build --isolation chroot --layers=false --pull-never --build-arg PYTHON_IMAGE=localhost/hdnet-python "$@" \
    --target "$target" --tag "hdnet-$target" .
  for image in $(builder images --quiet --filter dangling=true); do builder rmi "$image" >/dev/null; done
}

check_serve() { # PHOTOGRAPH
  local url=http://127.0.0.1:8123 accept
  make_container serve
  in_container --env HDNET_PORT=8123 -- &
  server=$!
  await $url/health/ready
  echo "user of the process: $(ps -o uid= -p "$(main_process)")"
  for accept in application/json image/png application/x-npz model/gltf-binary; do
    curl --silent --show-error --fail --form image=@"$1" --header "Accept: $accept" --output "$scratch/answer" \
      --write-out '%{content_type}: %{http_code}, %{size_download} bytes, %{time_total} s\n' $url/depth
  done
  curl --silent --fail $url/version && echo
  stop_server
}

check_train() {
  local repro="id -u && hdnet params apply /overlay.yaml && dvc repro && cat reports/evaluate/table.md"
  # Smaller than preset `quick`: seconds a stage.
  cat >"$scratch/overlay.yaml" <<'YAML'
data: {people: 4, heldout_people: 2, sequences: 1, frames_per_sequence: 3}
correspond: {partners: 1}
model: {width: 2}
train_normal: {steps: 4, batch_size: 1}
train_depth: {steps: 4, batch_size: 1}
train_hdnet: {steps: 4, batch_size: 1}
runtime: {jobs: 1, precision: "32"}
YAML
  chmod -R a+rX "$scratch"
  make_container train
  in_container --volume "$scratch/overlay.yaml:/overlay.yaml:ro" -- sh -ec "$repro"
  finish
  git clone --quiet . "$scratch/checkout"
  chown -R 12345:12345 "$scratch/checkout"
  make_container train
  in_container --user 12345:12345 --volume "$scratch/overlay.yaml:/overlay.yaml:ro" --volume "$scratch/checkout:/app" -- sh -ec "$repro"
  git -c safe.directory='*' -C "$scratch/checkout" status --short
}

check_mlflow() {
  local url=http://127.0.0.1:5123
  make_container mlflow
  in_container -- mlflow server --host 127.0.0.1 --port 5123 --workers 1 &
  server=$!
  await $url/health
  echo "user of the process: $(ps -o uid= -p "$(main_process)")"
  curl --silent --fail --json '{"experiment_id": "0", "run_name": "seen"}' $url/api/2.0/mlflow/runs/create >/dev/null
  curl --silent --fail --json '{"experiment_ids": ["0"]}' $url/api/2.0/mlflow/runs/search | grep --only-matching '"run_name": *"seen"'
  stop_server
}

run_image() { # IMAGE [COMMAND ...]
  local options=() name
  for name in $(compgen -e | grep -E '^(MLFLOW|AWS|HDNET)_'); do options+=(--env "$name"); done
  make_container "$1"
  shift
  in_container "${options[@]}" -- "$@"
}

sizes() {
  echo '| image | MB |'
  echo '|---|---:|'
  for image in python serve train mlflow; do
    builder images --format "| hdnet-$image | {{.Size}} |" "localhost/hdnet-$image" 2>/dev/null || true
  done
}

case "${1:-}" in
  base) make_base "${@:2}" ;;
  build) build "${@:2}" ;;
  check-serve) check_serve "$2" ;;
  check-train) check_train ;;
  check-mlflow) check_mlflow ;;
  run) run_image "${@:2}" ;;
  sizes) sizes ;;
  *) sed -n '2,/^set/{/^#/p}' "$0" && exit 2 ;;
esac
