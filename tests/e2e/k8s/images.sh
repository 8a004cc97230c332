#!/usr/bin/env bash
# The images of the test cluster, built by buildah without a registry: a Python base, pause, CoreDNS, Prometheus, and Tandem's
# own from deploy/Dockerfile. What is there in this version is kept. Needs buildah, runc, mmdebstrap, gcc.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?where the cluster is kept}
repository=$(cd "$here/../../.." && pwd)
images=$folder/img
PREVIOUS=9f64aeaa3acf4bbdc609227394731844303ef0d8 # before the request log numbered its writes and overlapped trials began earlier
mkdir -p "$images"
certificates=/etc/ssl/certs/ca-certificates.crt
buildah=(buildah --root "$folder/storage" --runroot "$folder/runroot" --storage-driver overlay)

save() { # IMAGE NAME: an archive that containerd imports in a second
  rm -f "$images/$2.tar"
  "${buildah[@]}" push -q "$1" "oci-archive:$images/$2.tar:$1"
}

single() { # PROGRAM NAME [USER [FOLDER]]: an image that holds one static program, FOLDER/NAME
  [ "$images/$2.tar" -nt "$1" ] && return
  local container
  container=$("${buildah[@]}" from scratch)
  "${buildah[@]}" copy -q "$container" "$1" "${4:-}/$2"
  "${buildah[@]}" config --entrypoint "[\"${4:-}/$2\"]" ${3:+--user "$3"} "$container"
  "${buildah[@]}" commit -q "$container" "localhost/$2:local"
  "${buildah[@]}" rm "$container" > /dev/null
  save "localhost/$2:local" "$2"
}

base() { # A Python like the official slim image, out of Debian's packages; libgomp1, as the image of the models has it.
  "${buildah[@]}" images -q localhost/python:3.11-gomp > /dev/null 2>&1 && return
  [ -f "$folder/base-gomp.tar" ] || mmdebstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv,netbase,libgomp1 \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --customize-hook='ln -s /usr/bin/python3 "$1/usr/local/bin/python"; ln -s /usr/bin/python3 "$1/usr/local/bin/python3"' \
    bookworm "$folder/base-gomp.tar"
  local container
  container=$("${buildah[@]}" from scratch)
  "${buildah[@]}" add -q "$container" "$folder/base-gomp.tar" /
  "${buildah[@]}" config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin --env LANG=C.UTF-8 --cmd python3 "$container"
  "${buildah[@]}" commit -q "$container" localhost/python:3.11-gomp
  "${buildah[@]}" rm "$container" > /dev/null
}

tandem() { # TARGET TAG [SOURCES]: really built from the Dockerfile
  local sources=${3:-$repository}
  printf 'native-tls = true\n' > "$folder/uv.toml"
  printf '[global]\ncert = %s\n' "$certificates" > "$folder/pip.conf"
  "${buildah[@]}" bud --runtime /usr/sbin/runc --pull-never --network host \
    -v "$certificates:$certificates:ro" -v "$folder/uv.toml:/etc/uv/uv.toml:ro" -v "$folder/pip.conf:/etc/pip.conf:ro" \
    --build-arg PYTHON_IMAGE=localhost/python:3.11-gomp --target "$1" -t "$2" -f "$sources/deploy/Dockerfile" "$sources"
  save "$2" "tandem-${2##*:}"
}

previous() { # The version that an upgrade comes from: its chart and its image.
  [ -f "$folder/previous/$PREVIOUS" ] && return
  rm -rf "$folder/previous" && mkdir -p "$folder/previous"
  git -C "$repository" archive "$PREVIOUS" | tar -x -C "$folder/previous"
  tandem worker localhost/tandem:previous "$folder/previous"
  touch "$folder/previous/$PREVIOUS"
}

[ -f "$folder/pause" ] || gcc -Os -static -s -o "$folder/pause" "$here/pause.c"
single "$folder/pause" pause 65535:65535
single "$folder/bin/coredns" coredns
for program in prometheus prometheus-operator prometheus-config-reloader; do single "$folder/bin/$program" "$program" 65534:65534 /bin; done
base
for target in "${@:2}"; do tandem "$target" "localhost/tandem:$target"; done
previous
"${buildah[@]}" rmi --prune > /dev/null 2>&1 || true # what these took the names of; another build may still use some
ls -la "$images"
