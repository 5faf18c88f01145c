/* One-sided operations: put, get, accumulate, fetch and op, compare and swap; between fences, in epochs of some, and under locks. */
#include "check.h"

enum { SPACE = 4 << 20 };

static unsigned char *memory, *local;
static MPI_Win window;

static const int SIZES[] = {1, 8, 100, 4096, 65536, 300000, 2 << 20};
enum { COUNT = sizeof SIZES / sizeof *SIZES };

static void fences(void)
{
    int right = (rank + 1) % ranks, left = (rank + ranks - 1) % ranks;
    for (int i = 0; i < COUNT; i++) {
        int size = SIZES[i];
        MUST(MPI_Win_fence(0, window));
        memset(memory, 0xee, (size_t)size + GUARD);
        fill(local, (size_t)size, (uint64_t)(rank + 100 * i));
        MUST(MPI_Win_fence(0, window));
        MUST(MPI_Put(local, size, MPI_BYTE, right, 0, size, MPI_BYTE, window));
        MUST(MPI_Win_fence(0, window));
        CHECK(differs(memory, (size_t)size, (uint64_t)(left + 100 * i)) < 0 && guarded(memory, (size_t)size), "put of %d bytes", size);
        memset(local, 0xee, (size_t)size + GUARD);
        MUST(MPI_Win_fence(0, window));
        MUST(MPI_Get(local, size, MPI_BYTE, right, 0, size, MPI_BYTE, window));
        MUST(MPI_Win_fence(0, window));
        CHECK(differs(local, (size_t)size, (uint64_t)(rank + 100 * i)) < 0 && guarded(local, (size_t)size), "get of %d bytes", size);
    }
    MUST(MPI_Win_fence(MPI_MODE_NOSUCCEED, window));
}

static void accumulates(void)
{
    enum { N = 20000 };
    int64_t *theirs = (int64_t *)memory, *mine = (int64_t *)local;
    for (int n = 1; n <= N; n *= 20) {
        for (int i = 0; i < n; i++) {
            theirs[i] = 1000;
            mine[i] = (rank + 1) * (i + 1);
        }
        MUST(MPI_Win_fence(0, window));
        for (int to = 0; to < ranks; to++)
            MUST(MPI_Accumulate(mine, n, MPI_INT64_T, to, 0, n, MPI_INT64_T, MPI_SUM, window));
        MUST(MPI_Win_fence(0, window));
        for (int i = 0; i < n; i++)
            CHECK(theirs[i] == 1000 + (int64_t)(i + 1) * ranks * (ranks + 1) / 2, "accumulate of %d: element %d is %ld", n, i, (long)theirs[i]);
        MUST(MPI_Win_fence(0, window));
    }
}

/* Start and complete, post and wait: with both neighbours. */
static void some_ranks(void)
{
    MPI_Group all, near;
    int neighbours[2] = {(rank + ranks - 1) % ranks, (rank + 1) % ranks}, n = neighbours[0] == neighbours[1] ? 1 : 2;
    MUST(MPI_Comm_group(MPI_COMM_WORLD, &all));
    MUST(MPI_Group_incl(all, n, neighbours, &near));
    for (int time = 0; time < 20; time++) {
        fill(local, 5000, (uint64_t)(rank * 50 + time));
        MUST(MPI_Win_post(near, 0, window));
        MUST(MPI_Win_start(near, 0, window));
        for (int i = 0; i < n; i++)
            MUST(MPI_Put(local, 5000, MPI_BYTE, neighbours[i], rank * 8192, 5000, MPI_BYTE, window));
        MUST(MPI_Win_complete(window));
        MUST(MPI_Win_wait(window));
        for (int i = 0; i < n; i++)
            CHECK(differs(memory + neighbours[i] * 8192, 5000, (uint64_t)(neighbours[i] * 50 + time)) < 0, "put of a neighbour, time %d", time);
    }
    MUST(MPI_Group_free(&near));
    MUST(MPI_Group_free(&all));
}

/* A counter at rank 0: everybody adds, nobody gets a number twice, none is left out. */
static void counter(void)
{
    enum { TIMES = 200 };
    int64_t *place = (int64_t *)memory, one = 1, got, last = -1;
    if (rank == 0)
        MUST(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window));
    if (rank == 0) {
        *place = 0;
        MUST(MPI_Win_unlock(0, window));
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Win_lock_all(0, window));
    char *seen = calloc((size_t)(TIMES * ranks), 1);
    for (int i = 0; i < TIMES; i++) {
        MUST(MPI_Fetch_and_op(&one, &got, MPI_INT64_T, 0, 0, MPI_SUM, window));
        MUST(MPI_Win_flush(0, window));
        CHECK(got > last && got < TIMES * ranks, "number %ld after %ld", (long)got, (long)last);
        seen[got] = 1;
        last = got;
    }
    MUST(MPI_Win_unlock_all(window));
    MUST(MPI_Allreduce(MPI_IN_PLACE, seen, TIMES * ranks, MPI_CHAR, MPI_SUM, MPI_COMM_WORLD));
    for (int i = 0; i < TIMES * ranks; i++)
        CHECK(seen[i] == 1, "number %d was given to %d", i, seen[i]);
    free(seen);
}

/* A lock made of compare and swap guards a number that is read and written by get and put. */
static void compare_and_swap(void)
{
    enum { TIMES = 20 };
    int64_t *place = (int64_t *)memory, zero = 0, mine = rank + 1, was, number;
    MUST(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, rank, 0, window));
    place[0] = place[1] = 0;
    MUST(MPI_Win_unlock(rank, window));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Win_lock_all(0, window));
    for (int i = 0; i < TIMES; i++) {
        do {
            MUST(MPI_Compare_and_swap(&mine, &zero, &was, MPI_INT64_T, 0, 0, window));
            MUST(MPI_Win_flush(0, window));
        } while (was != 0);
        MUST(MPI_Get(&number, 1, MPI_INT64_T, 0, 8, 1, MPI_INT64_T, window));
        MUST(MPI_Win_flush(0, window));
        number++;
        MUST(MPI_Put(&number, 1, MPI_INT64_T, 0, 8, 1, MPI_INT64_T, window));
        MUST(MPI_Win_flush(0, window));
        MUST(MPI_Fetch_and_op(&zero, &was, MPI_INT64_T, 0, 0, MPI_REPLACE, window));
        MUST(MPI_Win_flush(0, window));
        CHECK(was == mine, "the lock of %ld was held by %ld", (long)mine, (long)was);
    }
    MUST(MPI_Win_unlock_all(window));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == 0) {
        MUST(MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, window));
        CHECK(place[1] == TIMES * ranks, "the guarded number is %ld, not %d", (long)place[1], TIMES * ranks);
        MUST(MPI_Win_unlock(0, window));
    }
}

/* Locks, and requests of one-sided operations. */
static void locks(void)
{
    enum { N = 100000 };
    for (int to = 0; to < ranks; to++) {
        MPI_Request request;
        fill(local, N, (uint64_t)(rank * 10 + to));
        MUST(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, to, 0, window));
        MUST(MPI_Rput(local, N, MPI_BYTE, to, rank * N, N, MPI_BYTE, window, &request));
        MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        MUST(MPI_Win_unlock(to, window));
        memset(local, 0, N);
        MUST(MPI_Win_lock(MPI_LOCK_SHARED, to, 0, window));
        MUST(MPI_Rget(local, N, MPI_BYTE, to, rank * N, N, MPI_BYTE, window, &request));
        MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        MUST(MPI_Win_unlock(to, window));
        CHECK(differs(local, N, (uint64_t)(rank * 10 + to)) < 0, "what was put at %d is not got back", to);
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    int64_t *place = (int64_t *)memory, two[2] = {rank + 1, 1}, old[2];
    if (rank == 0) {
        MUST(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window));
        place[0] = place[1] = 0;
        MUST(MPI_Win_unlock(0, window));
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    MUST(MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, window));
    MUST(MPI_Get_accumulate(two, 2, MPI_INT64_T, old, 2, MPI_INT64_T, 0, 0, 2, MPI_INT64_T, MPI_SUM, window));
    MUST(MPI_Win_unlock(0, window));
    CHECK(old[1] >= 0 && old[1] < ranks, "get_accumulate: %ld", (long)old[1]);
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == 0) {
        MUST(MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, window));
        CHECK(place[0] == ranks * (ranks + 1) / 2 && place[1] == ranks, "get_accumulate: the sum is %ld", (long)place[0]);
        MUST(MPI_Win_unlock(0, window));
    }
}

static void all(void)
{
    PART(fences);
    PART(accumulates);
    PART(some_ranks);
    PART(counter);
    PART(compare_and_swap);
    PART(locks);
}

int main(int count, char **words)
{
    begin(&count, &words, MPI_THREAD_SINGLE);
    local = room(SPACE);
    memory = room(SPACE);
    MUST(MPI_Win_create(memory, SPACE + GUARD, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &window));
    all();
    MUST(MPI_Win_free(&window));
    free(memory);
    MUST(MPI_Win_allocate(SPACE + GUARD, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &memory, &window));
    all();
    MUST(MPI_Win_free(&window));
    free(local);
    return finish("onesided");
}
