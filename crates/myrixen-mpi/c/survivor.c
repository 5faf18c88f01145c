/* The last rank is killed from outside in the middle of messages: the calls of the others that concern it fail, in time, and those among
 * themselves go on. `survivor SECONDS`: how long a call may take to fail. Does not finalize MPI, which would wait for the dead. */
#include "check.h"

#include <unistd.h>

enum { SIZE = 1 << 20 };

enum { CALLS = 3 };

/* Looks at all requests until they have ended, or for so many seconds; the classes of their errors, -1 for one that has not ended. */
static void classes_of(MPI_Request requests[CALLS], double seconds, int classes[CALLS], double took[CALLS])
{
    double begun = MPI_Wtime();
    int left = CALLS;
    for (int i = 0; i < CALLS; i++)
        classes[i] = -1;
    while (left > 0 && MPI_Wtime() - begun < seconds) {
        for (int i = 0; i < CALLS; i++) {
            int done = 0;
            if (classes[i] >= 0)
                continue;
            int code = MPI_Test(&requests[i], &done, MPI_STATUS_IGNORE);
            took[i] = MPI_Wtime() - begun;
            if (code == MPI_SUCCESS && !done)
                continue;
            MPI_Error_class(code, &classes[i]);
            left--;
        }
        usleep(100);
    }
}

int main(int count, char **words)
{
    begin(&count, &words, MPI_THREAD_SINGLE);
    double patience = count > 1 ? atof(words[1]) : 10;
    int victim = ranks - 1;
    char *out = room(SIZE), *in = room(SIZE);
    fill(out, SIZE, 1);
    MUST(MPI_Allgather(&rank, 1, MPI_INT, in, 1, MPI_INT, MPI_COMM_WORLD));
    for (int i = 0; i < 50; i++)
        MUST(MPI_Sendrecv(out, SIZE, MPI_BYTE, (rank + 1) % ranks, 1, in, SIZE, MPI_BYTE, (rank + ranks - 1) % ranks, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    MUST(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == victim) {
        printf("VICTIM %d\n", (int)getpid());
        fflush(stdout);
        sleep(1000);
    }
    MPI_Request requests[CALLS];
    double took[CALLS];
    int classes[CALLS];
    MUST(MPI_Irecv(in, SIZE, MPI_BYTE, victim, 2, MPI_COMM_WORLD, &requests[0]));
    MUST(MPI_Issend(out, 100, MPI_BYTE, victim, 3, MPI_COMM_WORLD, &requests[1]));
    MUST(MPI_Isend(out, SIZE, MPI_BYTE, victim, 4, MPI_COMM_WORLD, &requests[2]));
    classes_of(requests, patience, classes, took);
    static const char *const WHAT[] = {"a receive from the dead", "a synchronous send to the dead", "a large send to the dead"};
    int well = 1;
    for (int i = 0; i < CALLS; i++) {
        printf("rank %d: %s: %s, %.2f s\n", rank, WHAT[i], classes[i] < 0 ? "did not end" : classes[i] == MPI_SUCCESS ? "SUCCEEDED" : "failed", took[i]);
        well &= classes[i] > 0 && classes[i] != MPI_SUCCESS;
    }
    for (int other = 0; other < victim; other++)
        if (other != rank) {
            int got = -1;
            MUST(MPI_Sendrecv(&rank, 1, MPI_INT, other, 5, &got, 1, MPI_INT, other, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
            CHECK(got == other, "survivors do not understand each other");
        }
    /* One write: the lines of several ranks come together. */
    printf("%s rank %d\n", well ? "SURVIVED" : "STUCK", rank);
    fflush(stdout);
    /* Not before the others have heard of this rank what they wait for. */
    sleep(2);
    _exit(0);
}
