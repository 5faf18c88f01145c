/* Many threads of each rank call MPI at the same time: messages by tag and by communicator, unexpected ones, collective operations. */
#include "check.h"

#include <pthread.h>

enum { THREADS = 4, TIMES = 150 };

static MPI_Comm comms[THREADS];
static int with;

/* To and fro with the thread of the same number at the partner: on a communicator that all share, told apart by tags. */
static void *by_tag(void *place)
{
    static const int SIZES[] = {0, 8, 1000, 10000, 100000};
    int me = *(int *)place;
    unsigned char *out = room(100000), *in = room(100000);
    for (int i = 0; i < TIMES; i++) {
        int size = SIZES[(i + me) % 5];
        MPI_Request requests[2];
        MPI_Status statuses[2];
        fill(out, (size_t)size, (uint64_t)(rank * 1000 + me * 100 + i));
        memset(in, 0xee, (size_t)size + GUARD);
        if (i % 2)
            MUST(MPI_Irecv(in, size, MPI_BYTE, with, me, MPI_COMM_WORLD, &requests[0]));
        MUST(MPI_Isend(out, size, MPI_BYTE, with, me, MPI_COMM_WORLD, &requests[1]));
        if (i % 2 == 0)
            MUST(MPI_Irecv(in, size, MPI_BYTE, with, me, MPI_COMM_WORLD, &requests[0]));
        MUST(MPI_Waitall(2, requests, statuses));
        CHECK(differs(in, (size_t)size, (uint64_t)(with * 1000 + me * 100 + i)) < 0 && guarded(in, (size_t)size), "thread %d, message %d of %d bytes", me, i, size);
    }
    free(out);
    free(in);
    return NULL;
}

/* On a communicator of its own, received from anybody with any tag; then a sum. */
static void *by_communicator(void *place)
{
    int me = *(int *)place;
    for (int i = 0; i < TIMES; i++) {
        int value = rank * 10000 + me * 1000 + i, got, total, wanted = 0;
        MPI_Request request;
        MPI_Status status;
        MUST(MPI_Isend(&value, 1, MPI_INT, with, i, comms[me], &request));
        MUST(MPI_Recv(&got, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, comms[me], &status));
        MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        CHECK(got == with * 10000 + me * 1000 + i && status.MPI_SOURCE == with && status.MPI_TAG == i, "thread %d, time %d: %d", me, i, got);
        if (i % 10 == 0) {
            MUST(MPI_Allreduce(&value, &total, 1, MPI_INT, MPI_SUM, comms[me]));
            for (int r = 0; r < ranks; r++)
                wanted += r * 10000 + me * 1000 + i;
            CHECK(total == wanted, "thread %d, time %d: a sum of %d, not %d", me, i, total, wanted);
        }
    }
    return NULL;
}

static void all_threads(void *(*work)(void *))
{
    pthread_t threads[THREADS];
    int places[THREADS];
    for (int i = 0; i < THREADS; i++) {
        places[i] = i;
        CHECK(pthread_create(&threads[i], NULL, work, &places[i]) == 0, "no thread");
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void tags(void)
{
    all_threads(by_tag);
}

static void communicators(void)
{
    all_threads(by_communicator);
}

int main(int count, char **words)
{
    begin(&count, &words, MPI_THREAD_MULTIPLE);
    with = partner_in(ranks - 1);
    for (int i = 0; i < THREADS; i++)
        MUST(MPI_Comm_dup(MPI_COMM_WORLD, &comms[i]));
    PART(tags);
    PART(communicators);
    for (int i = 0; i < THREADS; i++)
        MUST(MPI_Comm_free(&comms[i]));
    return finish("threads");
}
