/* Half round trips and streams between the first rank and the last: `pingpong MILLISECONDS latency:SIZE... bandwidth:SIZE...`, each for so long.
 * Prints `half_rtt SIZE P50 P99 P999 COUNT`, in nanoseconds, and `stream SIZE MB_PER_S MESSAGES`, in 10^6 bytes a second. */
#include "check.h"

#include <time.h>

enum { MOST = 200000, WINDOW = 64, STREAM_BYTES = 8 << 20 };

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void once(char *out, char *in, int size, int first, int last)
{
    if (rank == first) {
        MUST(MPI_Send(out, size, MPI_BYTE, last, 1, MPI_COMM_WORLD));
        MUST(MPI_Recv(in, size, MPI_BYTE, last, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    } else {
        MUST(MPI_Recv(in, size, MPI_BYTE, first, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        MUST(MPI_Send(out, size, MPI_BYTE, first, 1, MPI_COMM_WORLD));
    }
}

/* How many of them fit into so many nanoseconds, by the first rank's clock; both ranks are told. */
static int fitting(int64_t each, int64_t wanted, int least, int most)
{
    int64_t count = wanted / (each > 0 ? each : 1);
    int fits = count < least ? least : count > most ? most : (int)count;
    MUST(MPI_Bcast(&fits, 1, MPI_INT, 0, MPI_COMM_WORLD));
    return fits;
}

static void latency(int size, int64_t wanted, char *out, char *in)
{
    static int64_t took[MOST];
    int last = ranks - 1;
    int taking = rank == 0 || rank == last;
    for (int i = 0; taking && i < 2; i++)
        once(out, in, size, 0, last);
    int64_t begun = now();
    for (int i = 0; taking && i < 8; i++)
        once(out, in, size, 0, last);
    int64_t each = (now() - begun) / 8;
    /* Where a trip waits for time slices there are few of them, or nobody waits for the end. */
    int more = fitting(each, wanted / 4, 0, 40);
    for (int i = 0; taking && i < more; i++)
        once(out, in, size, 0, last);
    int count = fitting(each, wanted, 10, MOST);
    for (int i = 0; taking && i < count; i++) {
        int64_t start = now();
        once(out, in, size, 0, last);
        took[i] = now() - start;
    }
    if (rank == 0) {
        qsort(took, (size_t)count, sizeof *took, by_size);
        printf("half_rtt %d %lld %lld %lld %d\n", size, (long long)took[count / 2] / 2, (long long)took[(int64_t)count * 99 / 100] / 2,
               (long long)took[(int64_t)count * 999 / 1000] / 2, count);
        fflush(stdout);
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
}

/* `count` messages with up to a window of them under way, until the receiver has said that it has all. */
static void stream(int size, int count, int window, char *out, char *in)
{
    MPI_Request requests[WINDOW];
    int last = ranks - 1;
    if (rank != 0 && rank != last)
        return;
    for (int i = 0; i < window; i++)
        requests[i] = MPI_REQUEST_NULL;
    for (int i = 0; i < count; i++) {
        MPI_Request *request = &requests[i % window];
        MUST(MPI_Wait(request, MPI_STATUS_IGNORE));
        if (rank == 0)
            MUST(MPI_Isend(out, size, MPI_BYTE, last, 2, MPI_COMM_WORLD, request));
        else
            MUST(MPI_Irecv(in, size, MPI_BYTE, 0, 2, MPI_COMM_WORLD, request));
    }
    MUST(MPI_Waitall(window, requests, MPI_STATUSES_IGNORE));
    if (rank == 0)
        MUST(MPI_Recv(NULL, 0, MPI_BYTE, last, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    else
        MUST(MPI_Send(NULL, 0, MPI_BYTE, 0, 3, MPI_COMM_WORLD));
}

static void bandwidth(int size, int64_t wanted, char *out, char *in)
{
    int window = STREAM_BYTES / (size > 0 ? size : 1);
    window = window < 2 ? 2 : window > WINDOW ? WINDOW : window;
    stream(size, window, window, out, in);
    int64_t begun = now();
    stream(size, window, window, out, in);
    int count = fitting((now() - begun) / window, wanted, 2 * window, 1 << 30);
    begun = now();
    stream(size, count, window, out, in);
    if (rank == 0) {
        double seconds = (double)(now() - begun) / 1e9;
        printf("stream %d %.1f %d\n", size, (double)size * count / 1e6 / seconds, count);
        fflush(stdout);
    }
    MUST(MPI_Barrier(MPI_COMM_WORLD));
}

int main(int count, char **words)
{
    begin(&count, &words, MPI_THREAD_SINGLE);
    int64_t wanted = count > 1 ? atoll(words[1]) * 1000000 : 100000000;
    int largest = 0;
    for (int i = 2; i < count; i++) {
        const char *size = strchr(words[i], ':');
        CHECK(size, "what is %s?", words[i]);
        largest = atoi(size + 1) > largest ? atoi(size + 1) : largest;
    }
    char *out = room((size_t)largest), *in = room((size_t)largest);
    fill(out, (size_t)largest, 1);
    for (int i = 2; i < count; i++) {
        int size = atoi(strchr(words[i], ':') + 1);
        if (!strncmp(words[i], "latency:", 8))
            latency(size, wanted, out, in);
        else
            bandwidth(size, wanted, out, in);
    }
    /* So that nobody measures what does not arrive. */
    if (rank == 0)
        MUST(MPI_Send(out, largest, MPI_BYTE, ranks - 1, 9, MPI_COMM_WORLD));
    if (rank == ranks - 1) {
        MPI_Request request;
        memset(in, 0, (size_t)largest);
        MUST(MPI_Irecv(in, largest, MPI_BYTE, 0, 9, MPI_COMM_WORLD, &request));
        MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        CHECK(differs(in, (size_t)largest, 1) < 0, "the last message");
    }
    free(out);
    free(in);
    return finish("pingpong");
}
