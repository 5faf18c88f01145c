/* The last rank is killed from outside in the middle of messages: the calls of the others that concern it fail, in time, and those among
 * themselves go on. `survivor SECONDS`: how long a call may take to fail. Does not finalize MPI, which would wait for the dead. */
#include "check.h"

#include <unistd.h>

enum { SIZE = 1 << 20 };

/* Until the request has ended, or for so many seconds; the class of its error, -1 when it has not ended. */
static int class_of(MPI_Request *request, double seconds, double *took)
{
    double begun = MPI_Wtime();
    int done = 0, code = MPI_SUCCESS, class;
    while (!done && MPI_Wtime() - begun < seconds) {
        code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS)
            break;
        usleep(100);
    }
    *took = MPI_Wtime() - begun;
    if (!done && code == MPI_SUCCESS)
        return -1;
    MPI_Error_class(code, &class);
    return class;
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
    MPI_Request receive, send, large;
    MUST(MPI_Irecv(in, SIZE, MPI_BYTE, victim, 2, MPI_COMM_WORLD, &receive));
    MUST(MPI_Issend(out, 100, MPI_BYTE, victim, 3, MPI_COMM_WORLD, &send));
    MUST(MPI_Issend(out, SIZE, MPI_BYTE, victim, 4, MPI_COMM_WORLD, &large));
    double begun = MPI_Wtime();
    double took[3];
    int classes[3];
    classes[0] = class_of(&receive, patience, &took[0]);
    classes[1] = class_of(&send, patience - (MPI_Wtime() - begun), &took[1]);
    classes[2] = class_of(&large, patience - (MPI_Wtime() - begun), &took[2]);
    static const char *const WHAT[] = {"a receive from the dead", "a small send to the dead", "a large send to the dead"};
    int well = 1;
    for (int i = 0; i < 3; i++) {
        printf("rank %d: %s: %s, %.2f s\n", rank, WHAT[i], classes[i] < 0 ? "did not end" : classes[i] == MPI_SUCCESS ? "SUCCEEDED" : "failed", took[i]);
        well &= classes[i] > 0 && classes[i] != MPI_SUCCESS;
    }
    for (int other = 0; other < victim; other++)
        if (other != rank) {
            int got = -1;
            MUST(MPI_Sendrecv(&rank, 1, MPI_INT, other, 5, &got, 1, MPI_INT, other, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
            CHECK(got == other, "survivors do not understand each other");
        }
    printf("%s rank %d\n", well ? "SURVIVED" : "STUCK", rank);
    fflush(stdout);
    sleep(1);
    _exit(0);
}
