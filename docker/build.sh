#!/bin/sh
# Build the images, all or those named: [TOOL=…] [WHEELS=…] [BASE=…] [TORCH_INDEX=…] docker/build.sh [IMAGE]…
# IMAGE is shard, shard-cpu, transformer or client.
#   TOOL    buildah, podman or docker; default: the first of them that is installed
#   WHEELS  folder of wheels, as `make wheels` fills it (wheels); without wheels, packages come from pip's index
#   BASE    base image, by tag or digest; it is pulled only if the tool does not have it
#   TORCH_INDEX  URL of the index of torch's CPU builds, which PyTorch's installation page names, for shard-cpu; without
#           it and without such wheels in WHEELS, shard-cpu is the same image as shard, with the CUDA build
# The full name of an image begins with a registry's host, as on a Kubernetes node: docker.io/shardline/shard:VERSION.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "error: $*" >&2
    exit 1
}

first_tool() {
    for name in buildah podman docker; do
        if command -v "$name" > /dev/null; then echo "$name"; return; fi
    done
    fail "none of buildah, podman and docker is installed: install one (Debian: apt-get install buildah)"
}

# Equal input gives equal layers: file times are set to 0, and a layer is rebuilt only when its input changes.
build() {
    case $tool in
        buildah) buildah bud --layers --pull=false --format docker --timestamp 0 "$@" ;;
        podman) podman build --layers --pull=false --format docker --timestamp 0 "$@" ;;
        docker) docker build --build-arg SOURCE_DATE_EPOCH=0 "$@" ;;
    esac
}

tool=${TOOL:-$(first_tool)}
case $tool in buildah | podman | docker) ;; *) fail "TOOL=$tool: it may be buildah, podman or docker" ;; esac
command -v "$tool" > /dev/null || fail "TOOL=$tool is not installed: leave TOOL out to take what is there"
[ "$tool" != docker ] || docker info > /dev/null 2>&1 || fail "docker's daemon does not answer: start it, or give TOOL=buildah"

[ $# -gt 0 ] || set -- shard shard-cpu transformer client
for image in "$@"; do
    case $image in
        shard | shard-cpu | transformer | client) ;;
        *) fail "there is no image $image: it may be shard, shard-cpu, transformer or client" ;;
    esac
done

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
wheels=${WHEELS:-wheels}
options="--build-arg VERSION=$version${BASE:+ --build-arg BASE=$BASE}"
if [ -n "$(find "$wheels" -name '*.whl' 2> /dev/null | head -1)" ]; then
    options="$options --build-context wheels=$(realpath "$wheels")"
elif [ -n "${WHEELS:-}" ]; then
    fail "WHEELS=$WHEELS has no wheels: fill it by \`make wheels WHEELS=$WHEELS\`, or leave WHEELS out to use pip's index"
fi

# options of shard-cpu; without torch's CPU build none, so that the layers of shard are used again
cpu_options() {
    if [ -n "$(find "$wheels" -name 'torch-*+cpu-*.whl' 2> /dev/null | head -1)" ]; then
        echo "--build-arg TORCH=cpu"
    elif [ -n "${TORCH_INDEX:-}" ]; then
        echo "--build-arg TORCH=cpu --build-arg TORCH_INDEX=$TORCH_INDEX"
    else
        echo "shard-cpu: torch's CPU build is not here: this image holds the CUDA build, which is larger and runs on" \
            "CPUs, too; for a small one give TORCH_INDEX=URL, see docs/images.md" >&2
    fi
}

for image in "$@"; do
    name=docker.io/shardline/$image:$version
    echo "$name: building with $tool"
    own=
    [ "$image" != shard-cpu ] || own=$(cpu_options)
    # shellcheck disable=SC2086  # words without blanks
    build $options $own --file "docker/${image%-cpu}.Dockerfile" --tag "$name" . || fail "$name was not built: $tool says why above"
done
