#!/bin/sh
# Hosts: network namespaces with names and slow cables of 100 Mbit/s and 0.5 ms each way (cable.py), and MPI's launcher
# that reaches the others as it would by ssh.
#   network.sh MPIRUN LOUPE           two hosts; ends with 77 where this is not permitted
#   network.sh MPIRUN PROGRAM...      with LOUPE_ON_HOSTS=N: runs one program on N hosts (bench/scaling)
set -eu
tests=$(cd "$(dirname "$0")" && pwd)
mpirun=$1
shift
skip() {
  echo "skipped: $*"
  exit 77
}
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
for tool in ip tc unshare python3; do command -v $tool >/dev/null || skip "no $tool"; done
tag=lp$$
count=${LOUPE_ON_HOSTS:-2}
hosts=""
addresses=""
i=1
while [ $i -le "$count" ]; do
  hosts="$hosts $tag$i"
  addresses="$addresses${addresses:+,}10.77.0.$i:1"
  i=$((i + 1))
done
folder=$(mktemp -d)
cable=""
clean() {
  [ -z "$cable" ] || kill "$cable" 2>/dev/null || true
  for ns in $hosts; do
    for pid in $(ip netns pids $ns 2>/dev/null); do kill -9 "$pid" 2>/dev/null || true; done
    ip netns del $ns 2>/dev/null || true
  done
  rm -rf "$folder"
}
trap clean EXIT
for ns in $hosts; do
  ip netns add $ns 2>/dev/null || skip "network namespaces are not permitted here"
  ip -n $ns link set lo up
done
# The cables have a core of their own: moving frames is a network card's work, not the ranks'.
last=$(($(nproc) - 1))
on_cable=""
on_ranks=""
[ $last -lt 1 ] || { on_cable="taskset -c $last" on_ranks="taskset -c 0-$((last - 1))"; }
: > "$folder/cable"
# shellcheck disable=SC2086
$on_cable python3 "$tests/cable.py" 500 100 $hosts > "$folder/cable" 2>&1 &
cable=$!
until grep -q ready "$folder/cable"; do
  kill -0 $cable 2>/dev/null || skip "no cables here: $(cat "$folder/cable")"
  sleep 0.05
done
echo "$count hosts, cables of 100 Mbit/s and 0.5 ms"

# What ssh would do: HOST COMMAND...
cat > "$folder/agent" <<EOF
#!/bin/sh
host=$tag\${1##*.}
shift
exec ip netns exec \$host unshare -u sh -c "hostname \$host; \$*"
EOF
chmod +x "$folder/agent"
# on_hosts PROGRAM...: mpirun on the first host, one rank on each host.
on_hosts() {
  export OMPI_MCA_plm_rsh_agent="$folder/agent" OMPI_MCA_btl_tcp_if_include=10.77.0.0/24
  export OMPI_MCA_oob_tcp_if_include=10.77.0.0/24 OMPI_MCA_mpi_warn_on_fork=0
  # The launcher looks after its daemons each second: by default it takes 8 minutes to miss one.
  export OMPI_MCA_oob_tcp_keepalive_time=1 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=2
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl=self,tcp
  export OMPI_MCA_odls_base_sigkill_timeout=5  # time for the last words on a busy machine
  export OMPI_MCA_hwloc_base_binding_policy=none LOUPE_NUM_THREADS=1
  # shellcheck disable=SC2086
  exec $on_ranks timeout -k 1 90 ip netns exec ${tag}1 unshare -u sh -c "hostname ${tag}1; exec \"\$0\" \"\$@\"" "$mpirun" \
    --host "$addresses" -n "$count" -x LOUPE_NUM_THREADS "$@"
}
if [ -n "${LOUPE_ON_HOSTS:-}" ]; then
  (on_hosts "$@")
  exit $?
fi

loupe=$1
fail() {
  echo "network: $*" >&2
  exit 1
}
i=0
while [ $i -lt 400 ]; do
  echo "$i $((i * i % 977)) $((i * 31 % 101))"
  i=$((i + 1))
done > "$folder/text"
train="train gpt --json --layers 1 --heads 2 --width 64 --context 32 --batch-size 7 --text $folder/text --checkpoint-every 20"
hash_of() { sed -n 's/.*"weights_hash":"\([0-9a-f]*\)".*/\1/p' "$1"; }

# The network changes no bit.
# shellcheck disable=SC2086
(on_hosts "$loupe" $train --steps 200 --out "$folder/net") > "$folder/net.log" 2>&1 || { cat "$folder/net.log"; fail "the training over the network failed"; }
# shellcheck disable=SC2086
sh "$tests/mpirun.sh" "$mpirun" 2 "$loupe" $train --steps 200 > "$folder/local.log" 2>&1
[ -n "$(hash_of "$folder/net.log")" ] || fail "no result"
[ "$(hash_of "$folder/net.log")" = "$(hash_of "$folder/local.log")" ] || fail "other bits over the network"
echo "200 steps over the network: the bits of two ranks of one host"

# The cable is cut in the middle: a clear end, no hang; the last checkpoint is whole.
# shellcheck disable=SC2086
(on_hosts "$loupe" $train --steps 200 --timeout 8 --out "$folder/cut") > "$folder/cut.log" 2>&1 &
job=$!
tries=0
until [ -e "$folder/cut/checkpoints/step-000000020.safetensors" ]; do
  tries=$((tries + 1))
  [ $tries -lt 600 ] || { cat "$folder/cut.log"; fail "no checkpoint"; }
  sleep 0.05
done
ip -n ${tag}1 link set cable down
before=$(date +%s)
wait $job && fail "the job ended well without its cable"
taken=$(($(date +%s) - before))
grep 'rank 0 waited .* for rank 1 .* at step' "$folder/cut.log" || { cat "$folder/cut.log"; fail "nobody says which rank is gone"; }
[ $taken -lt 30 ] || fail "it took $taken s"
echo "the cable was cut: the job ended after $taken s"
ip -n ${tag}1 link set cable up
# shellcheck disable=SC2086
sh "$tests/mpirun.sh" "$mpirun" 2 "$loupe" $train --steps 200 --out "$folder/cut" --resume > "$folder/resumed.log" 2>&1 || { cat "$folder/resumed.log"; fail "it does not resume"; }
[ "$(hash_of "$folder/resumed.log")" = "$(hash_of "$folder/local.log")" ] || fail "resumed to other bits"
echo "resumed on one host to the same bits"
