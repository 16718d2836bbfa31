#!/bin/bash
# Builds docker/Dockerfile for real and runs the main job in the image: with buildah, which
# needs no engine, and with a base image made by debootstrap, which needs no registry.
# About five minutes and 8 GB of disk while it runs; leaves nothing behind.
# One line per check; exit 1 if any fails, 0 with the reason where it cannot run.
set -uo pipefail
PATH=$PATH:/usr/sbin:/sbin
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
mirror=${FEM_DEEPEST_MIRROR:-http://deb.debian.org/debian}
passed=0 failed=0 skipped=0
ok() { passed=$((passed + 1)); echo "ok - $* ($SECONDS s)"; }
not_ok() { failed=$((failed + 1)); echo "not ok - $* ($SECONDS s)"; tail -n "${lines:-15}" "$tmp/log" | sed 's/^/#   /'; }
skip() { skipped=$((skipped + 1)); echo "skip - $*"; }
finish() { echo "$passed passed, $failed failed, $skipped skipped"; [ "$failed" = 0 ]; exit; }
check() {       # NAME CMD...
    local name=$1
    shift
    if "$@" >"$tmp/log" 2>&1; then ok "$name"; else not_ok "$name"; fi
}

if ! why=$("$checkout/docker/rootfs" possible); then skip "the image: $why"; finish; fi
for tool in buildah debootstrap; do
    command -v $tool >/dev/null && continue
    { apt-get update && apt-get install -y --no-install-recommends $tool; } >/dev/null 2>&1 ||
        { skip "the image: $tool is not installed, and apt-get cannot install it"; finish; }
done
if [ "$(df --output=avail -k "${TMPDIR:-/tmp}" | tail -n 1)" -lt 10000000 ]; then
    skip "the image: less than 10 GB free in ${TMPDIR:-/tmp}"
    finish
fi

tmp=$(mktemp -d)
container=
buildah() { command buildah --storage-driver "$driver" --root "$tmp/root" --runroot "$tmp/runroot" "$@"; }
clean() {
    buildah rm --all
    buildah rmi --all --force
    # What debootstrap or a build that was killed left mounted: first that, then the files.
    grep -o " $tmp/[^ ]*" /proc/mounts | sort -r | while read -r mounted; do umount -l "$mounted"; done
    rm -rf --one-file-system "$tmp"
} >/dev/null 2>&1
trap clean EXIT
trap 'exit 130' INT TERM
export TMPDIR=$tmp
for driver in overlay vfs; do
    if container=$(buildah from scratch 2>"$tmp/log") && tree=$(buildah mount "$container" 2>>"$tmp/log"); then break; fi
    tree=
done
[ -n "$tree" ] || { skip "the image: buildah cannot make a container: $(tail -n 1 "$tmp/log")"; finish; }

# The base image, under the name that debian:trixie-slim means.
script=()
[ -e /usr/share/debootstrap/scripts/trixie ] || script=(/usr/share/debootstrap/scripts/sid)
if ! unshare --mount --propagation private \
    debootstrap --variant=minbase trixie "$tree" "$mirror" "${script[@]}" >"$tmp/log" 2>&1; then
    not_ok "the base image is made"
    finish
fi
cp /etc/resolv.conf "$tree/etc/resolv.conf"
buildah umount "$container" >/dev/null
check "the base image is made ($driver)" buildah commit --rm "$container" docker.io/library/debian:trixie-slim

# The host's certificates, for pip, as docker/run has them for its own build.
volumes=()
for ca in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
    [ -s "$ca" ] || continue
    printf '[global]\ncert = /run/host-ca.crt\n' >"$tmp/pip.conf"
    volumes=(--volume "$ca:/run/host-ca.crt:ro" --volume "$tmp/pip.conf:/etc/pip.conf:ro")
    break
done
check "docker/Dockerfile builds" buildah bud --isolation=chroot --network=host --pull-never \
    "${volumes[@]}" -t fem-deepest -f "$checkout/docker/Dockerfile" "$checkout"
[ "$failed" = 0 ] || finish

container=$(buildah from --pull-never fem-deepest)
inside() { buildah run --isolation=chroot --network=host "$@"; }
check "the package is installed, not only lying there" inside "$container" -- \
    sh -c 'cd / && python3 -c "import fem_deepest, dolfinx; assert \"dist-packages\" in fem_deepest.__file__, fem_deepest.__file__"'
check "the history of the repository is not in the image" inside "$container" -- test ! -e /opt/fem-deepest/.git
check "mpirun -n 2" inside "$container" -- \
    mpirun -n 2 python3 -c 'from mpi4py import MPI; import dolfinx; assert MPI.COMM_WORLD.size == 2'
check "OpenBLAS is the BLAS" inside "$container" -- python3 -c \
    'import numpy, threadpoolctl as t; assert [i["internal_api"] for i in t.threadpool_info()] == ["openblas"]'
if [ -e "$checkout/demos/digits.toml" ]; then
    job=(fem-deepest train demos/digits.toml --set network.cells=4)
    check "the main job" inside "$container" -- "${job[@]}" --out /tmp/out
    [ "$failed" = 0 ] && tail -n 4 "$tmp/log" | sed 's/^/#   /'
    check "the main job on two ranks, as a user without a home" inside --user 1234:1234 "$container" -- \
        env HOME=/nonexistent mpirun -n 2 "${job[@]}" --out /tmp/out-user
else
    skip "the main job: demos/digits.toml is not there"
fi
finish
