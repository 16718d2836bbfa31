#!/bin/bash
# Checks docker/run from the host, with nothing but bash: one line per check, exit 1 if any
# fails. The builds in here are of empty trees (debootstrap and chroot are replaced), except
# that the real environment is built once if it is missing.
# shellcheck disable=SC2016     # what is in single quotes is for the shell inside
set -uo pipefail
set -m          # background jobs get their own process group and keep SIGINT
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
run=$checkout/docker/run
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0 skipped=0

ok() { passed=$((passed + 1)); echo "ok - $*"; }
not_ok() { failed=$((failed + 1)); echo "not ok - $*"; sed 's/^/#   /' "$tmp/err" 2>/dev/null | tail -n 5; }
skip() { skipped=$((skipped + 1)); echo "skip - $*"; }
check() {       # NAME CMD...: CMD succeeds
    local name=$1
    shift
    if "$@" 2>>"$tmp/err"; then ok "$name"; else not_ok "$name"; fi
    : >"$tmp/err"
}
is() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1: '$2' instead of '$3'"; fi; }
seconds() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.2f", b - a }'; }
below() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'; }
wait_for() { for _ in $(seq 100); do if "$@" >/dev/null 2>&1; then return 0; fi; sleep 0.1; done; return 1; }
finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
    exit
}

# ---- wrong use
FEM_DEEPEST_ENV=moon "$run" true 2>"$tmp/err"
is "an unknown FEM_DEEPEST_ENV exits with 2" $? 2
check "and names the four choices" grep -q "native, docker, podman or rootfs, not 'moon'" "$tmp/err"
"$run" >/dev/null 2>&1
is "no command exits with 2" $? 2
check "--help prints the usage" grep -q "FEM_DEEPEST_ENV" <("$run" --help)
if ! command -v podman >/dev/null; then
    FEM_DEEPEST_ENV=podman "$run" true 2>"$tmp/err"
    is "a way that is not possible exits with 2" $? 2
    check "and says why" grep -q "podman is not installed" "$tmp/err"
fi

# ---- a container engine that records what it is asked
mkdir "$tmp/engine" "$tmp/elsewhere"
cat >"$tmp/engine/docker" <<'END'
#!/bin/sh
printf '<%s>' "$@" >>"$RECORD"; echo >>"$RECORD"
case "$1 $2" in "image inspect") [ "$3" = debian:trixie-slim ] ;; esac
END
chmod +x "$tmp/engine/docker"
(cd "$tmp/elsewhere" && RECORD=$tmp/record PATH=$tmp/engine:$PATH FEM_DEEPEST_ENV=docker PETSC_OPTIONS=-log_view \
    "$run" fem-deepest train 'a b') >/dev/null 2>"$tmp/err"
is "docker: exit code" $? 0
check "docker: builds the image from the Dockerfile" grep -q "^<build>.*<-f><$checkout/docker/Dockerfile><$checkout>" "$tmp/record"
check "docker: runs the command as it was given" grep -q "<fem-deepest><train><a b>$" "$tmp/record"
for want in "<-v><$checkout:$checkout>" "<-v><$tmp/elsewhere:$tmp/elsewhere>" "<-w><$tmp/elsewhere>" \
            "<--user><$(id -u):$(id -g)>" "<--rm>" "<--init>" "<-e><PETSC_OPTIONS>" \
            "<-e><OMPI_MCA_btl=self,sm>" "<-e><PYTHONPATH=$checkout>"; do
    check "docker: passes $want" grep -q "^<run>.*$want" "$tmp/record"
done

# ---- the rest is about the root file system
if ! why=$("$checkout/docker/rootfs" possible); then
    skip "the root file system: $why"
    finish
fi
export FEM_DEEPEST_ENV=rootfs

# ---- building, with a debootstrap that makes an empty tree and a chroot that stays outside
mkdir "$tmp/fake"
cat >"$tmp/fake/debootstrap" <<'END'
#!/bin/sh
echo "$$" >>"$FAKE/started"
mkdir -p "$3/usr/bin"
sleep "${FAKE_SLEEP:-0}"
exit "${FAKE_EXIT:-0}"
END
cat >"$tmp/fake/chroot" <<'END'
#!/bin/sh
shift
case $* in *install-packages*) exit 0 ;; esac
exec "$@"
END
chmod +x "$tmp"/fake/*
fake() {    # CACHE CHECKOUT CMD...
    local cache=$1 where=$2
    shift 2
    mkdir -p "$cache"
    XDG_CACHE_HOME=$cache FAKE=$cache PATH=$tmp/fake:$PATH "$where/docker/run" "$@"
}
trees() { find "$1/fem-deepest" -maxdepth 1 -name 'rootfs-*' 2>/dev/null | wc -l; }
mkdir "$tmp/a copy"
cp -r "$checkout/docker" "$tmp/a copy/docker"
copy="$tmp/a copy"

FAKE_SLEEP=2 fake "$tmp/c1" "$copy" true 2>"$tmp/one" &
wait_for test -s "$tmp/c1/started"
fake "$tmp/c1" "$copy" sh -c 'exit 5' 2>"$tmp/two"
is "a second caller runs after the first one's build" $? 5
wait %%
is "and the first one too" $? 0
check "the second says that it waits" grep -q waiting "$tmp/two"
is "and builds nothing" "$(wc -l <"$tmp/c1/started")" 1

for signal in INT TERM; do
    FAKE_SLEEP=30.125 fake "$tmp/c2$signal" "$copy" true 2>"$tmp/err" &
    pid=$!
    wait_for test -s "$tmp/c2$signal/started"
    t=$(seconds)
    kill -s "$signal" "$(pgrep -P $pid -f docker/rootfs || echo $pid)"
    wait $pid
    is "SIG$signal during the build: exit code" $? $((128 + $(kill -l $signal)))
    check "SIG$signal during the build: says so" grep -q "build was interrupted" "$tmp/err"
    is "SIG$signal during the build: nothing of it is left" "$(trees "$tmp/c2$signal")" 0
    check "SIG$signal during the build: its processes are gone" sh -c '! pgrep -f "^sleep 30.125"'
    check "SIG$signal during the build: at once ($(since "$t") s)" below "$(since "$t")" 3
done

FAKE_SLEEP=30.125 fake "$tmp/c3" "$copy" true 2>"$tmp/err" &
pid=$!
wait_for test -s "$tmp/c3/started"
kill -KILL "$(pgrep -P $pid -f docker/rootfs || echo $pid)"
wait $pid 2>/dev/null
is "a build that was killed leaves its unfinished tree" "$(find "$tmp/c3/fem-deepest" -maxdepth 1 -name '*.building' | wc -l)" 1
fake "$tmp/c3" "$copy" true 2>"$tmp/err"
is "which is not taken for a finished one" "$?/$(wc -l <"$tmp/c3/started")/$(trees "$tmp/c3")" 0/2/1

FAKE_EXIT=3 fake "$tmp/c4" "$copy" true 2>"$tmp/err"
is "a build that fails: exit code" $? 1
check "a build that fails: names its log" grep -q "full log is .*/build.log" "$tmp/err"
is "a build that fails: leaves no tree" "$(trees "$tmp/c4")" 0

XDG_CACHE_HOME=$tmp/c1 FAKE=$tmp/c1 PATH=$tmp/fake:$PATH "$copy/docker/run" sleep 20.25 &
pid=$!
wait_for pgrep -f "^sleep 20.25"
echo "# only a comment" >>"$copy/docker/packages.txt"
fake "$tmp/c1" "$copy" true 2>"$tmp/err"
is "a comment in the package list rebuilds nothing" "$(wc -l <"$tmp/c1/started")" 1
echo "one-more-package" >>"$copy/docker/packages.txt"
fake "$tmp/c1" "$copy" true 2>"$tmp/err"
is "a changed package list does" "$(wc -l <"$tmp/c1/started")" 2
is "and leaves the tree alone in which a command runs" "$(trees "$tmp/c1")" 2
kill $pid
wait $pid 2>/dev/null
echo "another-package" >>"$copy/docker/packages.txt"
fake "$tmp/c1" "$copy" true 2>"$tmp/err"
is "but removes it later" "$(trees "$tmp/c1")" 1

# ---- the real environment
before=$(sort /proc/mounts)
t=$(seconds)
"$run" true || { not_ok "the environment can be built"; finish; }
ok "the environment is there ($(since "$t") s)"
t=$(seconds); "$run" true; t=$(since "$t")
check "entering it takes less than a second ($t s)" below "$t" 1
"$run" sh -c 'exit 37'
is "exit code" $? 37
"$run" no-such-command 2>/dev/null
is "exit code of a command that does not exist" $? 127
mkdir -p "$tmp/dir with spaces"
is "working directory" "$(cd "$tmp/dir with spaces" && "$run" pwd)" "$tmp/dir with spaces"
outside=$(mktemp -d /var/tmp/launcher.XXXXXX)
is "working directory in /var" "$(cd "$outside" && "$run" sh -c 'pwd; echo hello >file')" "$outside"
is "what is written there is on the host" "$(cat "$outside/file")" hello
rm -r "$outside"
is "standard input and output" "$(printf 'a\nb\n' | "$run" sort -r | tr '\n' ' ')" "b a "
is "standard error" "$("$run" sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" err
is "spaces, quotes and patterns in arguments" "$("$run" printf '%s|' 'a b' "it's" '"$HOME"' '*' '')" 'a b|it'\''s|"$HOME"|*||'
is "variables of the caller" "$(MINE='a b' "$run" sh -c 'echo "$MINE"')" "a b"
is "a thread count of the caller" "$(OPENBLAS_NUM_THREADS=2 "$run" sh -c 'echo $OPENBLAS_NUM_THREADS')" 2
is "the package comes from the checkout" "$("$run" sh -c 'echo $PYTHONPATH')" "$checkout"
rm -r "$copy/docker"
cp -r "$checkout/docker" "$copy/docker"
is "a checkout with a space in its path" "$(cd "$copy" && docker/run sh -c 'pwd; echo "$PYTHONPATH"; command -v pytest' | tr '\n' '|')" \
    "$copy|$copy|$copy/docker/bin/pytest|"
for signal in INT TERM; do
    "$run" python3 -c 'import subprocess; subprocess.run(["sleep", "30.75"])' 2>/dev/null &
    pid=$!
    wait_for pgrep -f "^sleep 30.75"
    is "mounts of the host while a command runs" "$(sort /proc/mounts)" "$before"
    t=$(seconds)
    kill -s "$signal" -- -$pid      # the process group, as a terminal does
    wait $pid 2>/dev/null
    is "SIG$signal: exit code" $? $((128 + $(kill -l $signal)))
    check "SIG$signal: promptly ($(since "$t") s)" below "$(since "$t")" 2
    check "SIG$signal: the children are gone" sh -c '! pgrep -f "^sleep 30.75"'
done
"$run" sleep 30.5 &
pid=$!
wait_for pgrep -f "^sleep 30.5"
is "the command has the process id of docker/run" "$(pgrep -f '^sleep 30.5')" $pid
kill -KILL $pid
wait $pid 2>/dev/null
is "SIGKILL: exit code" $? 137
is "mounts of the host afterwards" "$(sort /proc/mounts)" "$before"
for n in 2 3; do    # without line ends: where output is not buffered, those of the ranks may mix
    is "mpirun -n $n, with nothing on standard error" \
        "$("$run" mpirun -n $n python3 -c 'from mpi4py import MPI; print(MPI.COMM_WORLD.allreduce(1))' 2>&1 | tr -d '\n')" \
        "$(for _ in $(seq $n); do printf %s $n; done)"
done
is "DOLFINx, slepc4py, gmsh and parallel HDF5" \
    "$("$run" python3 -c 'import dolfinx, slepc4py, gmsh, h5py; print(dolfinx.__version__ >= "0.9", h5py.File)' 2>&1)" \
    "True <class 'h5py._debian_h5py_mpi._hl.files.File'>"
flops=$("$run" python3 -c '
import time, numpy
a = numpy.random.rand(1000, 1000); a @ a; best = 1e9
for i in range(5):
    t = time.perf_counter(); a @ a; best = min(best, time.perf_counter() - t)
print(f"{2 / best:.1f}")')
check "OpenBLAS: one thread multiplies matrices at $flops GFlop/s" below 10 "$flops"
is "and it is one thread" "$("$run" python3 -c '
import numpy, threadpoolctl
print([(i["internal_api"], i["num_threads"]) for i in threadpoolctl.threadpool_info()])')" "[('openblas', 1)]"
for tool in python pytest ruff mypy git; do check "$tool runs" "$run" $tool --version >/dev/null; done
check "hosts of their own for the tests: network namespaces" "$run" unshare --net --uts ip link show lo >/dev/null
is "docker/run inside the environment takes what is there" "$("$run" "$run" sh -c 'echo inside')" inside
finish
