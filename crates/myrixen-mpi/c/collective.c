/* Collective operations, blocking and not, in place and not, on all ranks and on some: every result computed here as well. */
#include "check.h"

static const int COUNTS[] = {0, 1, 3, 100, 1000, 4097, 30000, 200000};
enum { LENGTHS = sizeof COUNTS / sizeof *COUNTS, MOST = 200000 };
/* How many of them are used. */
static int lengths = LENGTHS;

static int *a, *b;

/* What rank `r` contributes at `i`. */
static int value(int r, int i)
{
    return (r + 1) * 7919 + i * 31 % 65536;
}

static void set(int *to, int count)
{
    for (int i = 0; i < count; i++)
        to[i] = value(rank, i);
}

static int sum(int upto, int i)
{
    int all = 0;
    for (int r = 0; r < upto; r++)
        all += value(r, i);
    return all;
}

static void broadcast(void)
{
    for (int k = 0; k < lengths; k++)
        for (int root = 0; root < ranks; root++) {
            int n = COUNTS[k];
            memset(a, 0, (size_t)n * sizeof *a);
            if (rank == root)
                set(a, n);
            MUST(MPI_Bcast(a, n, MPI_INT, root, MPI_COMM_WORLD));
            for (int i = 0; i < n; i++)
                CHECK(a[i] == value(root, i), "broadcast of %d from %d: element %d", n, root, i);
        }
}

static void farthest(void *from, void *into, int *count, MPI_Datatype *kind)
{
    (void)kind;
    int *x = from, *y = into;
    for (int i = 0; i < *count; i++)
        y[i] = x[i] > y[i] ? x[i] : y[i];
}

static void reductions(void)
{
    MPI_Op own;
    MUST(MPI_Op_create(farthest, 1, &own));
    for (int k = 0; k < lengths; k++) {
        int n = COUNTS[k];
        set(a, n);
        MUST(MPI_Allreduce(a, b, n, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
        for (int i = 0; i < n; i++)
            CHECK(b[i] == sum(ranks, i), "allreduce of %d: element %d", n, i);
        memcpy(b, a, (size_t)n * sizeof *a);
        MUST(MPI_Allreduce(MPI_IN_PLACE, b, n, MPI_INT, own, MPI_COMM_WORLD));
        for (int i = 0; i < n; i++)
            CHECK(b[i] == value(ranks - 1, i), "allreduce of %d with an operation of ours: element %d", n, i);
        for (int root = 0; root < ranks; root++) {
            MUST(MPI_Reduce(a, b, n, MPI_INT, MPI_MIN, root, MPI_COMM_WORLD));
            for (int i = 0; rank == root && i < n; i++)
                CHECK(b[i] == value(0, i), "reduce of %d to %d: element %d", n, root, i);
        }
        MUST(MPI_Scan(a, b, n, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
        for (int i = 0; i < n; i++)
            CHECK(b[i] == sum(rank + 1, i), "scan of %d: element %d", n, i);
        MUST(MPI_Exscan(a, b, n, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
        for (int i = 0; rank > 0 && i < n; i++)
            CHECK(b[i] == sum(rank, i), "exscan of %d: element %d", n, i);
        int part = n / ranks;
        MUST(MPI_Reduce_scatter_block(a, b, part, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
        for (int i = 0; i < part; i++)
            CHECK(b[i] == sum(ranks, rank * part + i), "reduce_scatter_block of %d: element %d", part, i);
    }
    MUST(MPI_Op_free(&own));
    double x = 0.5 + rank, total;
    MUST(MPI_Allreduce(&x, &total, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD));
    CHECK(total == ranks * 0.5 + ranks * (ranks - 1) / 2.0, "a sum of doubles: %f", total);
}

static void gathers(void)
{
    for (int k = 0; k < lengths; k++) {
        int n = COUNTS[k] / ranks;
        for (int root = 0; root < ranks; root++) {
            set(a, n);
            MUST(MPI_Gather(a, n, MPI_INT, b, n, MPI_INT, root, MPI_COMM_WORLD));
            for (int r = 0; rank == root && r < ranks; r++)
                for (int i = 0; i < n; i++)
                    CHECK(b[r * n + i] == value(r, i), "gather of %d from %d: element %d", n, r, i);
            set(b, n * ranks);
            MUST(MPI_Scatter(b, n, MPI_INT, a, n, MPI_INT, root, MPI_COMM_WORLD));
            for (int i = 0; i < n; i++)
                CHECK(a[i] == value(root, rank * n + i), "scatter of %d from %d: element %d", n, root, i);
        }
        set(a, n);
        MUST(MPI_Allgather(a, n, MPI_INT, b, n, MPI_INT, MPI_COMM_WORLD));
        for (int r = 0; r < ranks; r++)
            for (int i = 0; i < n; i++)
                CHECK(b[r * n + i] == value(r, i), "allgather of %d from %d: element %d", n, r, i);
    }
}

static void alltoalls(void)
{
    int counts[64], from[64], into[64], other[64];
    MPI_Datatype kinds[64];
    for (int k = 0; k < lengths; k++) {
        int n = COUNTS[k] / ranks;
        set(a, n * ranks);
        MUST(MPI_Alltoall(a, n, MPI_INT, b, n, MPI_INT, MPI_COMM_WORLD));
        for (int r = 0; r < ranks; r++)
            for (int i = 0; i < n; i++)
                CHECK(b[r * n + i] == value(r, rank * n + i), "alltoall of %d from %d: element %d", n, r, i);
        /* Rank r gets n / (r + 1) of each; the last of them nothing. */
        for (int r = 0; r < ranks; r++) {
            counts[r] = r == ranks - 1 && r ? 0 : n / (r + 1);
            other[r] = rank == ranks - 1 && rank ? 0 : n / (rank + 1);
            from[r] = r * n;
            into[r] = r * n;
        }
        memset(b, 0, (size_t)(n * ranks) * sizeof *b);
        MUST(MPI_Alltoallv(a, counts, from, MPI_INT, b, other, into, MPI_INT, MPI_COMM_WORLD));
        for (int r = 0; r < ranks; r++)
            for (int i = 0; i < n; i++)
                CHECK(b[r * n + i] == (i < other[r] ? value(r, rank * n + i) : 0), "alltoallv of %d from %d: element %d", n, r, i);
        for (int r = 0; r < ranks; r++) {
            kinds[r] = MPI_INT;
            from[r] *= (int)sizeof(int);
            into[r] *= (int)sizeof(int);
        }
        memset(b, 0, (size_t)(n * ranks) * sizeof *b);
        MUST(MPI_Alltoallw(a, counts, from, kinds, b, other, into, kinds, MPI_COMM_WORLD));
        for (int r = 0; r < ranks; r++)
            for (int i = 0; i < n; i++)
                CHECK(b[r * n + i] == (i < other[r] ? value(r, rank * n + i) : 0), "alltoallw of %d from %d: element %d", n, r, i);
        for (int r = 0, at = 0; r < ranks; r++) {
            counts[r] = n / (r + 1);
            into[r] = at;
            at += counts[r];
        }
        MUST(MPI_Allgatherv(a, counts[rank], MPI_INT, b, counts, into, MPI_INT, MPI_COMM_WORLD));
        for (int r = 0; r < ranks; r++)
            for (int i = 0; i < counts[r]; i++)
                CHECK(b[into[r] + i] == value(r, i), "allgatherv from %d: element %d", r, i);
    }
}

/* All of these under way at once, on two communicators, while messages go to and fro. */
static void at_once(void)
{
    enum { MANY = 8, N = 5000 };
    MPI_Comm other;
    MUST(MPI_Comm_dup(MPI_COMM_WORLD, &other));
    int right = (rank + 1) % ranks, left = (rank + ranks - 1) % ranks;
    for (int time = 0; time < 10; time++) {
        MPI_Request requests[MANY + 3];
        int *in[MANY], *out[MANY], token = rank, got = -1;
        for (int i = 0; i < MANY; i++) {
            in[i] = malloc((size_t)ranks * N * sizeof(int));
            out[i] = malloc((size_t)ranks * N * sizeof(int));
            set(in[i], ranks * N);
            memset(out[i], 0, (size_t)ranks * N * sizeof(int));
        }
        MPI_Comm on[2] = {MPI_COMM_WORLD, other};
        MUST(MPI_Irecv(&got, 1, MPI_INT, left, 3, MPI_COMM_WORLD, &requests[MANY]));
        MUST(MPI_Iallreduce(in[0], out[0], N, MPI_INT, MPI_SUM, on[0], &requests[0]));
        MUST(MPI_Iallgather(in[1], N, MPI_INT, out[1], N, MPI_INT, on[1], &requests[1]));
        MUST(MPI_Ialltoall(in[2], N, MPI_INT, out[2], N, MPI_INT, on[0], &requests[2]));
        MUST(MPI_Ibcast(in[3], N, MPI_INT, time % ranks, on[1], &requests[3]));
        MUST(MPI_Ireduce(in[4], out[4], N, MPI_INT, MPI_MAX, time % ranks, on[0], &requests[4]));
        MUST(MPI_Iscan(in[5], out[5], N, MPI_INT, MPI_SUM, on[1], &requests[5]));
        MUST(MPI_Igather(in[6], N, MPI_INT, out[6], N, MPI_INT, time % ranks, on[0], &requests[6]));
        MUST(MPI_Iscatter(in[7], N, MPI_INT, out[7], N, MPI_INT, time % ranks, on[1], &requests[7]));
        MUST(MPI_Isend(&token, 1, MPI_INT, right, 3, MPI_COMM_WORLD, &requests[MANY + 1]));
        MUST(MPI_Ibarrier(other, &requests[MANY + 2]));
        MUST(MPI_Waitall(MANY + 3, requests, MPI_STATUSES_IGNORE));
        CHECK(got == left, "a message among collective operations");
        int root = time % ranks, is_root = rank == root;
        for (int i = 0; i < N; i++) {
            CHECK(out[0][i] == sum(ranks, i), "iallreduce: element %d", i);
            CHECK(in[3][i] == value(root, i), "ibcast: element %d", i);
            CHECK(!is_root || out[4][i] == value(ranks - 1, i), "ireduce: element %d", i);
            CHECK(out[5][i] == sum(rank + 1, i), "iscan: element %d", i);
            CHECK(out[7][i] == value(root, rank * N + i), "iscatter: element %d", i);
            for (int r = 0; r < ranks; r++) {
                CHECK(out[1][r * N + i] == value(r, i), "iallgather: element %d of %d", i, r);
                CHECK(out[2][r * N + i] == value(r, rank * N + i), "ialltoall: element %d of %d", i, r);
                CHECK(!is_root || out[6][r * N + i] == value(r, i), "igather: element %d of %d", i, r);
            }
        }
        for (int i = 0; i < MANY; i++) {
            free(in[i]);
            free(out[i]);
        }
    }
    MUST(MPI_Comm_free(&other));
}

/* Halves of all ranks, and messages between the halves. */
static void between_groups(void)
{
    if (ranks < 2)
        return;
    MPI_Comm half, between;
    int upper = rank >= ranks / 2;
    MUST(MPI_Comm_split(MPI_COMM_WORLD, upper, rank, &half));
    MUST(MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, upper ? 0 : ranks / 2, 9, &between));
    int total, wanted = 0;
    MUST(MPI_Allreduce(&rank, &total, 1, MPI_INT, MPI_SUM, between));
    for (int r = upper ? 0 : ranks / 2; r < (upper ? ranks / 2 : ranks); r++)
        wanted += r;
    CHECK(total == wanted, "the other half sums up to %d, not %d", total, wanted);
    MUST(MPI_Comm_free(&between));
    MUST(MPI_Comm_free(&half));
}

static void neighbours(void)
{
    MPI_Comm ring;
    int dims[1] = {ranks}, periods[1] = {1}, got[2];
    MUST(MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &ring));
    MUST(MPI_Neighbor_allgather(&rank, 1, MPI_INT, got, 1, MPI_INT, ring));
    CHECK(got[0] == (rank + ranks - 1) % ranks && got[1] == (rank + 1) % ranks, "neighbours %d and %d", got[0], got[1]);
    MUST(MPI_Comm_free(&ring));
}

int main(int count, char **words)
{
    begin(&count, &words, MPI_THREAD_SINGLE);
    while (lengths > 1 && COUNTS[lengths - 1] > longest() / (long)sizeof(int))
        lengths--;
    a = malloc(MOST * sizeof *a);
    b = malloc(MOST * sizeof *b);
    PART(broadcast);
    PART(reductions);
    PART(gathers);
    PART(alltoalls);
    PART(at_once);
    PART(between_groups);
    PART(neighbours);
    free(a);
    free(b);
    return finish("collective");
}
