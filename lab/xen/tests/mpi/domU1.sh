. /lab/lib.sh
. ./guest.sh
wait_signal domU2-ready

# A program in both guests, as a user who may not open Xen's devices, with nothing but our provider to send by: DIRECT PROVIDERS PROGRAM [ARGUMENTS].
# What it says is in /tmp/said.
mpi() {
    local direct=$1 providers=$2
    shift 2
    as_lab "cd /tmp && mpirun -n 2 --host domU1:1,domU2:1 \
        --mca plm_rsh_agent /lab/test/launcher --mca oob_tcp_if_include eth0 \
        --mca pml cm --mca mtl ofi --mca mtl_ofi_provider_include myrixen --mca osc pt2pt --mca mpi_yield_when_idle 1 \
        --mca mtl_base_verbose 1 -x FI_PROVIDER_PATH=$providers -x FI_MYRIXEN_DIRECT=$direct \
        -x MPI_CHECK_HOSTS=2 -x MPI_CHECK_LONGEST=262145 $*" \
        </dev/null >/tmp/said 2>&1
}

# One that has to pass, its ranks on two hosts and each on its domain's board: WAY DIRECT PROGRAM [ARGUMENTS].
run() {
    local way=$1 direct=$2 program=$3 begun
    shift 3
    begun=$(now_ms)
    if ! mpi "$direct" /lab/bin "mpi-$program" "$@" ||
        ! grep -q "^PASSED: $program, 2 ranks" /tmp/said ||
        ! grep -q "mtl:ofi:provider: a-domU1:0" /tmp/said || ! grep -q "mtl:ofi:provider: a-domU2:0" /tmp/said; then
        cat /tmp/said
        fail "$program, $way"
    fi
    ok "$program, $way: $(grep ^PASSED /tmp/said)"
    result "{\"test\": \"$program\", \"way\": \"$way\", \"ms\": $(($(now_ms) - begun))}"
}

# The same, where there is no provider: or what follows might use another.
refuse "MPI without our provider" mpi 1 /lab/test mpi-pingpong 1 latency:8
grep -q "PML cm cannot be selected" /tmp/said || {
    cat /tmp/said
    fail "MPI without our provider failed for another reason"
}

for way in direct switched; do
    direct=$([ "$way" = direct ] && echo 1 || echo 0)
    signal "$way-begins"
    run "$way" "$direct" pingpong 1000 latency:8 latency:65536
    signal "$way-ended"
    while read -r what size p50 _; do
        [ "$what" != half_rtt ] || result "{\"test\": \"half_rtt\", \"way\": \"$way\", \"size\": $size, \"p50_ns\": $p50}"
    done </tmp/said
    run "$way" "$direct" p2p
    run "$way" "$direct" collective
done
signal domU1-done
