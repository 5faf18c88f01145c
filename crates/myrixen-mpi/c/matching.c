/* Which message goes to which receive: wildcards, order, truncation, probes, unexpected messages, communicators, requests in all their forms. */
#include "check.h"

/* Everybody sends numbered messages to everybody; taken with wildcards, they come in order from each. */
static void wildcards(void)
{
    enum { EACH = 50 };
    for (int root = 0; root < ranks; root++) {
        int body[2];
        if (rank != root) {
            for (int i = 0; i < EACH; i++) {
                body[0] = rank;
                body[1] = i;
                MUST(MPI_Send(body, 2, MPI_INT, root, i % 3, MPI_COMM_WORLD));
            }
            MUST(MPI_Send(NULL, 0, MPI_INT, root, 7, MPI_COMM_WORLD));
            continue;
        }
        int *next = calloc((size_t)ranks, sizeof(int));
        for (int i = 0; i < EACH * (ranks - 1); i++) {
            MPI_Status status;
            /* The messages with tag 7 are for another receive. */
            int tag = i % 2 ? MPI_ANY_TAG : -1, from = MPI_ANY_SOURCE;
            if (tag == -1) {
                MUST(MPI_Probe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &status));
                from = status.MPI_SOURCE;
                tag = status.MPI_TAG;
            }
            if (tag == 7) {
                MUST(MPI_Recv(NULL, 0, MPI_INT, from, 7, MPI_COMM_WORLD, &status));
                CHECK(next[from] == EACH, "the last word of %d came after %d messages", from, next[from]);
                next[from]++;
                i--;
                continue;
            }
            MUST(MPI_Recv(body, 2, MPI_INT, from, tag, MPI_COMM_WORLD, &status));
            if (status.MPI_TAG == 7) {
                CHECK(next[status.MPI_SOURCE] == EACH, "the last word of %d came too early", status.MPI_SOURCE);
                next[status.MPI_SOURCE]++;
                i--;
                continue;
            }
            CHECK(body[0] == status.MPI_SOURCE && body[1] == next[body[0]] && status.MPI_TAG == body[1] % 3,
                  "from %d tag %d: message %d of %d, expected %d", status.MPI_SOURCE, status.MPI_TAG, body[1], body[0], next[body[0]]);
            next[body[0]]++;
        }
        for (int from = 0; from < ranks; from++)
            if (from != root && next[from] == EACH)
                MUST(MPI_Recv(NULL, 0, MPI_INT, from, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        free(next);
    }
}

static int class_of(int code)
{
    int class;
    MPI_Error_class(code, &class);
    return class;
}

/* A message that is too long for its receive: an error there, nothing written beyond, and the next message is well. */
static void truncation(void)
{
    static const int SIZES[] = {9, 100, 5000, 40000, 1048576};
    unsigned char *out = room(1048576), *in = room(1048576);
    for (int round = 0; round < ranks; round++) {
        int with = partner_in(round);
        for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
            /* Nothing is promised about what Open MPI does with its own errors to itself. */
            if (with == rank)
                continue;
            int size = SIZES[i], fits = i % 2 ? size / 2 : 8;
            fill(out, (size_t)size, (uint64_t)rank);
            memset(in, 0xee, 1048576 + GUARD);
            MPI_Request requests[4];
            MPI_Status statuses[4];
            int early = i % 2 == 0;
            if (early)
                MUST(MPI_Irecv(in, fits, MPI_BYTE, with, 1, MPI_COMM_WORLD, &requests[0]));
            MUST(MPI_Isend(out, size, MPI_BYTE, with, 1, MPI_COMM_WORLD, &requests[1]));
            MUST(MPI_Isend(out, size, MPI_BYTE, with, 2, MPI_COMM_WORLD, &requests[2]));
            if (!early)
                MUST(MPI_Irecv(in, fits, MPI_BYTE, with, 1, MPI_COMM_WORLD, &requests[0]));
            int code = MPI_Wait(&requests[0], &statuses[0]);
            CHECK(class_of(code) == MPI_ERR_TRUNCATE, "%d bytes from %d for %d: error class %d, not of truncation", size, with, fits, class_of(code));
            CHECK(guarded(in, (size_t)fits), "%d bytes from %d for %d: written beyond the end", size, with, fits);
            MUST(MPI_Irecv(in, size, MPI_BYTE, with, 2, MPI_COMM_WORLD, &requests[3]));
            MUST(MPI_Waitall(3, requests + 1, statuses + 1));
            CHECK(differs(in, (size_t)size, (uint64_t)with) < 0, "the message after a truncated one of %d bytes", size);
        }
    }
    free(out);
    free(in);
}

static void probes(void)
{
    static const int SIZES[] = {0, 1, 100, 4096, 20000, 65536, 1048576};
    unsigned char *out = room(1048576), *in = room(1048576);
    for (int round = 0; round < ranks; round++) {
        int with = partner_in(round);
        for (int i = 0; i < 7; i++) {
            MPI_Request request;
            MPI_Status status;
            MPI_Message message;
            int count, found = 0;
            fill(out, (size_t)SIZES[i], (uint64_t)(rank + i));
            for (int how = 0; how < 4; how++) {
                /* Who is ahead is in another round, with other tags. */
                int from = how % 2 ? MPI_ANY_SOURCE : with, tag = 10 * round + how;
                MUST(MPI_Isend(out, SIZES[i], MPI_BYTE, with, tag, MPI_COMM_WORLD, &request));
                memset(in, 0xee, (size_t)SIZES[i] + GUARD);
                if (how == 0)
                    MUST(MPI_Probe(from, tag, MPI_COMM_WORLD, &status));
                else if (how == 1)
                    while (!found)
                        MUST(MPI_Iprobe(from, tag, MPI_COMM_WORLD, &found, &status));
                else if (how == 2)
                    MUST(MPI_Mprobe(from, tag, MPI_COMM_WORLD, &message, &status));
                else
                    for (found = 0; !found;)
                        MUST(MPI_Improbe(from, tag, MPI_COMM_WORLD, &found, &message, &status));
                MUST(MPI_Get_count(&status, MPI_BYTE, &count));
                CHECK(status.MPI_SOURCE == with && count == SIZES[i] && status.MPI_TAG == tag, "probe %d of %d bytes from %d: source %d, tag %d, %d bytes", how,
                      SIZES[i], with, status.MPI_SOURCE, status.MPI_TAG, count);
                if (how < 2)
                    MUST(MPI_Recv(in, count, MPI_BYTE, with, tag, MPI_COMM_WORLD, &status));
                else if (how == 2)
                    MUST(MPI_Mrecv(in, count, MPI_BYTE, &message, &status));
                else {
                    MPI_Request receive;
                    MUST(MPI_Imrecv(in, count, MPI_BYTE, &message, &receive));
                    MUST(MPI_Wait(&receive, &status));
                }
                MUST(MPI_Get_count(&status, MPI_BYTE, &count));
                CHECK(count == SIZES[i] && differs(in, (size_t)count, (uint64_t)(with + i)) < 0 && guarded(in, (size_t)count), "probe %d, then %d bytes from %d",
                      how, SIZES[i], with);
                MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
                found = 0;
            }
        }
        int found;
        MUST(MPI_Iprobe(with, 5555, MPI_COMM_WORLD, &found, MPI_STATUS_IGNORE));
        CHECK(!found, "a probe found what nobody has sent");
    }
    MPI_Message none;
    MPI_Status status;
    MUST(MPI_Mprobe(MPI_PROC_NULL, 0, MPI_COMM_WORLD, &none, &status));
    CHECK(none == MPI_MESSAGE_NO_PROC && status.MPI_SOURCE == MPI_PROC_NULL, "mprobe of nobody");
    free(out);
    free(in);
}

/* A message that has been taken by mprobe is nobody else's, and the next of its sender is found behind it. */
static void claimed_stays_claimed(void)
{
    for (int round = 0; round < ranks; round++) {
        int with = partner_in(round), values[2] = {rank * 10, rank * 10 + 1}, got[2];
        MPI_Request requests[2];
        MPI_Message message;
        for (int i = 0; i < 2; i++)
            MUST(MPI_Isend(&values[i], 1, MPI_INT, with, 3, MPI_COMM_WORLD, &requests[i]));
        MUST(MPI_Mprobe(with, 3, MPI_COMM_WORLD, &message, MPI_STATUS_IGNORE));
        MUST(MPI_Recv(&got[1], 1, MPI_INT, with, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        MUST(MPI_Mrecv(&got[0], 1, MPI_INT, &message, MPI_STATUS_IGNORE));
        CHECK(got[0] == with * 10 && got[1] == with * 10 + 1, "claimed %d, then received %d", got[0], got[1]);
        MUST(MPI_Waitall(2, requests, MPI_STATUSES_IGNORE));
    }
}

/* Thousands that nobody waits for yet, taken backwards. */
static void many_unexpected(void)
{
    enum { SMALL = 2000, LARGE = 12, LENGTH = 200000 };
    for (int round = 0; round < ranks; round++) {
        int with = partner_in(round);
        MPI_Request *requests = malloc((SMALL + LARGE) * sizeof *requests);
        int *values = malloc(SMALL * sizeof *values);
        unsigned char *out = room(LENGTH), *in = room(LENGTH);
        fill(out, LENGTH, (uint64_t)rank);
        for (int i = 0; i < SMALL; i++) {
            values[i] = rank * SMALL + i;
            MUST(MPI_Isend(&values[i], 1, MPI_INT, with, i, MPI_COMM_WORLD, &requests[i]));
        }
        for (int i = 0; i < LARGE; i++)
            MUST(MPI_Isend(out, LENGTH, MPI_BYTE, with, SMALL + i, MPI_COMM_WORLD, &requests[SMALL + i]));
        for (int i = SMALL + LARGE - 1; i >= SMALL; i--) {
            memset(in, 0, LENGTH);
            MUST(MPI_Recv(in, LENGTH, MPI_BYTE, with, i, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
            CHECK(differs(in, LENGTH, (uint64_t)with) < 0, "large message %d from %d", i, with);
        }
        for (int i = SMALL - 1; i >= 0; i--) {
            int got;
            MUST(MPI_Recv(&got, 1, MPI_INT, with, i, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
            CHECK(got == with * SMALL + i, "message %d from %d is %d", i, with, got);
        }
        MUST(MPI_Waitall(SMALL + LARGE, requests, MPI_STATUSES_IGNORE));
        free(requests);
        free(values);
        free(out);
        free(in);
    }
}

/* The same tag in many communicators, received in another order. */
static void communicators(void)
{
    enum { MANY = 30 };
    MPI_Comm comms[MANY], half;
    for (int i = 0; i < MANY; i++) {
        MUST(MPI_Comm_dup(i ? comms[i - 1] : MPI_COMM_WORLD, &comms[i]));
    }
    for (int round = 0; round < ranks; round++) {
        int with = partner_in(round), values[MANY];
        MPI_Request requests[MANY];
        for (int i = 0; i < MANY; i++) {
            values[i] = rank * 1000 + i;
            MUST(MPI_Isend(&values[i], 1, MPI_INT, with, round, comms[i], &requests[i]));
        }
        for (int k = 0; k < MANY; k++) {
            int i = (k * 11 + 3) % MANY, got;
            MPI_Status status;
            MUST(MPI_Recv(&got, 1, MPI_INT, k % 2 ? MPI_ANY_SOURCE : with, round, comms[i], &status));
            CHECK(got == with * 1000 + i && status.MPI_SOURCE == with, "communicator %d: %d from %d", i, got, status.MPI_SOURCE);
        }
        MUST(MPI_Waitall(MANY, requests, MPI_STATUSES_IGNORE));
    }
    MUST(MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &half));
    int mine, sum, wanted = 0;
    MPI_Comm_rank(half, &mine);
    MUST(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, half));
    for (int other = rank % 2; other < ranks; other += 2)
        wanted += other;
    CHECK(sum == wanted, "a half of all ranks sums up to %d, not %d", sum, wanted);
    MUST(MPI_Comm_free(&half));
    for (int i = 0; i < MANY; i++)
        MUST(MPI_Comm_free(&comms[i]));
    int self = 41, got = 0;
    MUST(MPI_Sendrecv(&self, 1, MPI_INT, 0, 0, &got, 1, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE));
    CHECK(got == 41, "MPI_COMM_SELF");
}

static void persistent(void)
{
    enum { LENGTH = 30000 };
    unsigned char *out = room(LENGTH), *in = room(LENGTH);
    for (int round = 0; round < ranks; round++) {
        int with = partner_in(round);
        for (int mode = 0; mode < 2; mode++) {
            MPI_Request requests[2];
            int length = mode == 1 ? LENGTH : 50;
            MUST(MPI_Recv_init(in, length, MPI_BYTE, with, mode, MPI_COMM_WORLD, &requests[0]));
            if (mode == 0)
                MUST(MPI_Send_init(out, length, MPI_BYTE, with, mode, MPI_COMM_WORLD, &requests[1]));
            else
                MUST(MPI_Ssend_init(out, length, MPI_BYTE, with, mode, MPI_COMM_WORLD, &requests[1]));
            for (int i = 0; i < 30; i++) {
                fill(out, (size_t)length, (uint64_t)(rank * 100 + i));
                memset(in, 0xee, (size_t)length + GUARD);
                MUST(MPI_Startall(2, requests));
                MUST(MPI_Waitall(2, requests, MPI_STATUSES_IGNORE));
                CHECK(differs(in, (size_t)length, (uint64_t)(with * 100 + i)) < 0 && guarded(in, (size_t)length), "persistent request, mode %d, time %d", mode, i);
            }
            MUST(MPI_Request_free(&requests[0]));
            MUST(MPI_Request_free(&requests[1]));
        }
    }
    free(out);
    free(in);
}

/* Ends by any, some and all; each request once. */
static void completions(void)
{
    enum { EACH = 48 };
    for (int round = 0; round < ranks; round++) {
        int with = partner_in(round);
        for (int how = 0; how < 5; how++) {
            MPI_Request receives[EACH], sends[EACH];
            int values[EACH], got[EACH], seen[EACH] = {0}, places[EACH], done = 0;
            MPI_Status statuses[EACH];
            for (int i = 0; i < EACH; i++)
                MUST(MPI_Irecv(&got[i], 1, MPI_INT, with, i, MPI_COMM_WORLD, &receives[i]));
            for (int k = 0; k < EACH; k++) {
                int i = (k * 7 + 3) % EACH;
                values[i] = rank * 500 + i;
                MUST(MPI_Isend(&values[i], 1, MPI_INT, with, i, MPI_COMM_WORLD, &sends[i]));
            }
            while (done < EACH) {
                int n = 0, flag = 0;
                if (how == 0) {
                    MUST(MPI_Waitany(EACH, receives, &places[0], statuses));
                    n = 1;
                } else if (how == 1)
                    MUST(MPI_Waitsome(EACH, receives, &n, places, statuses));
                else if (how == 2)
                    MUST(MPI_Testsome(EACH, receives, &n, places, statuses));
                else if (how == 3) {
                    MUST(MPI_Testany(EACH, receives, &places[0], &flag, statuses));
                    n = flag;
                } else {
                    MUST(MPI_Testall(EACH, receives, &flag, statuses));
                    n = flag ? EACH : 0;
                    for (int i = 0; i < n; i++)
                        places[i] = i;
                }
                for (int i = 0; i < n; i++) {
                    int at = places[i];
                    CHECK(at >= 0 && at < EACH && !seen[at] && got[at] == with * 500 + at && statuses[i].MPI_TAG == at, "way %d: request %d", how, at);
                    seen[at] = 1;
                }
                done += n;
            }
            MUST(MPI_Waitall(EACH, sends, MPI_STATUSES_IGNORE));
        }
    }
}

/* Receives that nobody will answer are cancelled; those that were answered are not. */
static void cancelled_receives(void)
{
    for (int round = 0; round < ranks; round++) {
        int with = partner_in(round), got = -1, flag;
        for (int i = 0; i < 20; i++) {
            MPI_Request never, answered;
            MPI_Status status;
            int value = rank + i, other = -1;
            MUST(MPI_Irecv(&other, 1, MPI_INT, i % 2 ? with : MPI_ANY_SOURCE, 77, MPI_COMM_WORLD, &never));
            MUST(MPI_Irecv(&got, 1, MPI_INT, with, 78, MPI_COMM_WORLD, &answered));
            MUST(MPI_Cancel(&never));
            MUST(MPI_Wait(&never, &status));
            MUST(MPI_Test_cancelled(&status, &flag));
            CHECK(flag && other == -1, "a receive that nobody answers was not cancelled");
            MUST(MPI_Send(&value, 1, MPI_INT, with, 78, MPI_COMM_WORLD));
            MUST(MPI_Wait(&answered, MPI_STATUS_IGNORE));
            CHECK(got == with + i, "after a cancelled receive: %d", got);
        }
    }
}

int main(int count, char **words)
{
    begin(&count, &words, MPI_THREAD_SINGLE);
    PART(wildcards);
    PART(truncation);
    PART(probes);
    PART(claimed_stays_claimed);
    PART(many_unexpected);
    PART(communicators);
    PART(persistent);
    PART(completions);
    PART(cancelled_receives);
    return finish("matching");
}
