/* Messages from one rank to another: every mode of sending, 0 bytes to 8 MiB, every byte checked; each rank with each, itself included. */
#include "check.h"

static const int SIZES[] = {0,    1,    7,     8,     31,    32,    33,     64,     65,      127,     128,     129,     1023,  1024,
                            1025, 4095, 4096,  4097,  8191,  8192,  8193,   16384,  32767,   32768,   32769,   65536,   65537, 100000,
                            262144, 262145, 1048576, 1048577, 4194304, 8388608};
enum { COUNT = sizeof SIZES / sizeof *SIZES, LARGEST = 8388608 };
/* How many of them are sent. */
static int sizes = COUNT;

enum mode { SEND, SSEND, BSEND, RSEND, ISEND, ISSEND, IBSEND, IRSEND, MODES };
static const char *const NAMES[] = {"send", "ssend", "bsend", "rsend", "isend", "issend", "ibsend", "irsend"};

static unsigned char *out, *in;

static void post(enum mode mode, int size, int to, int tag, MPI_Request *request)
{
    *request = MPI_REQUEST_NULL;
    switch (mode) {
    case SEND: MUST(MPI_Send(out, size, MPI_BYTE, to, tag, MPI_COMM_WORLD)); break;
    case SSEND: MUST(MPI_Ssend(out, size, MPI_BYTE, to, tag, MPI_COMM_WORLD)); break;
    case BSEND: MUST(MPI_Bsend(out, size, MPI_BYTE, to, tag, MPI_COMM_WORLD)); break;
    case RSEND: MUST(MPI_Rsend(out, size, MPI_BYTE, to, tag, MPI_COMM_WORLD)); break;
    case ISEND: MUST(MPI_Isend(out, size, MPI_BYTE, to, tag, MPI_COMM_WORLD, request)); break;
    case ISSEND: MUST(MPI_Issend(out, size, MPI_BYTE, to, tag, MPI_COMM_WORLD, request)); break;
    case IBSEND: MUST(MPI_Ibsend(out, size, MPI_BYTE, to, tag, MPI_COMM_WORLD, request)); break;
    default: MUST(MPI_Irsend(out, size, MPI_BYTE, to, tag, MPI_COMM_WORLD, request)); break;
    }
}

static void judge(const MPI_Status *status, enum mode mode, int size, int from, int tag, uint64_t seed)
{
    int count;
    MUST(MPI_Get_count(status, MPI_BYTE, &count));
    CHECK(status->MPI_SOURCE == from && status->MPI_TAG == tag && count == size,
          "%s of %d bytes from %d: status says source %d, tag %d, %d bytes", NAMES[mode], size, from, status->MPI_SOURCE, status->MPI_TAG, count);
    long at = differs(in, (size_t)size, seed);
    CHECK(at < 0, "%s of %d bytes from %d: byte %ld is wrong", NAMES[mode], size, from, at);
    CHECK(guarded(in, (size_t)size), "%s of %d bytes from %d: written beyond the end", NAMES[mode], size, from);
}

/* Both ways between two ranks, the receives posted first. */
static void posted(enum mode mode, int size, int with)
{
    int tag = 100 + mode;
    uint64_t to = (uint64_t)size * 64 + (uint64_t)(rank * 8 + with), from = (uint64_t)size * 64 + (uint64_t)(with * 8 + rank);
    fill(out, (size_t)size, to);
    memset(in, 0xee, (size_t)size + GUARD);
    MPI_Request requests[2];
    MPI_Status statuses[2];
    MUST(MPI_Irecv(in, size, MPI_BYTE, with, tag, MPI_COMM_WORLD, &requests[0]));
    if (mode == RSEND || mode == IRSEND)
        MUST(MPI_Sendrecv(NULL, 0, MPI_BYTE, with, 99, NULL, 0, MPI_BYTE, with, 99, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    post(mode, size, with, tag, &requests[1]);
    MUST(MPI_Waitall(2, requests, statuses));
    judge(&statuses[0], mode, size, with, tag, from);
}

/* One way, and the receiver looks for it only after something that was sent later has arrived. */
static void unexpected(enum mode mode, int size, int with)
{
    if (with == rank)
        return;
    int tag = 200 + mode;
    uint64_t seed = (uint64_t)size * 64 + (uint64_t)mode;
    for (int turn = 0; turn < 2; turn++) {
        if ((rank < with) == (turn == 0)) {
            fill(out, (size_t)size, seed);
            MPI_Request requests[2];
            MUST(MPI_Isend(out, size, MPI_BYTE, with, tag, MPI_COMM_WORLD, &requests[0]));
            MUST(MPI_Isend(NULL, 0, MPI_BYTE, with, 98, MPI_COMM_WORLD, &requests[1]));
            MUST(MPI_Waitall(2, requests, MPI_STATUSES_IGNORE));
        } else {
            MPI_Status status;
            memset(in, 0xee, (size_t)size + GUARD);
            MUST(MPI_Recv(NULL, 0, MPI_BYTE, with, 98, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
            MUST(MPI_Recv(in, size, MPI_BYTE, with, tag, MPI_COMM_WORLD, &status));
            judge(&status, mode, size, with, tag, seed);
        }
    }
}

static void all_modes(void)
{
    for (int round = 0; round < ranks; round++) {
        int with = partner_in(round);
        for (int i = 0; i < sizes; i++)
            for (int mode = 0; mode < MODES; mode++) {
                /* A blocking send to oneself may wait for a receive that is posted; it is. */
                posted((enum mode)mode, SIZES[i], with);
            }
    }
}

static void receives_that_come_late(void)
{
    for (int round = 0; round < ranks; round++)
        for (int i = 0; i < sizes; i++)
            unexpected(ISEND, SIZES[i], partner_in(round));
}

static void sendrecv(void)
{
    int right = (rank + 1) % ranks, left = (rank + ranks - 1) % ranks;
    for (int i = 0; i < sizes; i++) {
        MPI_Status status;
        fill(out, (size_t)SIZES[i], (uint64_t)(rank + i));
        memset(in, 0xee, (size_t)SIZES[i] + GUARD);
        MUST(MPI_Sendrecv(out, SIZES[i], MPI_BYTE, right, 5, in, SIZES[i], MPI_BYTE, left, 5, MPI_COMM_WORLD, &status));
        judge(&status, SEND, SIZES[i], left, 5, (uint64_t)(left + i));
        MUST(MPI_Sendrecv_replace(out, SIZES[i], MPI_BYTE, right, 6, left, 6, MPI_COMM_WORLD, &status));
        CHECK(differs(out, (size_t)SIZES[i], (uint64_t)(left + i)) < 0, "sendrecv_replace of %d bytes", SIZES[i]);
    }
}

/* Many under way at once in both directions, of all sizes, ended in whatever order. */
static void many_at_once(void)
{
    enum { EACH = 40 };
    for (int round = 0; round < ranks; round++) {
        int with = partner_in(round);
        MPI_Request requests[2 * EACH];
        unsigned char *rooms[2 * EACH];
        for (int i = 0; i < EACH; i++) {
            size_t size = (size_t)SIZES[i % (sizes - 3)];
            rooms[i] = room(size);
            rooms[EACH + i] = room(size);
            fill(rooms[EACH + i], size, (uint64_t)(rank * 100 + i));
            MUST(MPI_Irecv(rooms[i], (int)size, MPI_BYTE, with, i, MPI_COMM_WORLD, &requests[i]));
        }
        /* Sent in another order than they are waited for. */
        for (int k = 0; k < EACH; k++) {
            int i = (k * 17 + 5) % EACH;
            MUST(MPI_Isend(rooms[EACH + i], SIZES[i % (sizes - 3)], MPI_BYTE, with, i, MPI_COMM_WORLD, &requests[EACH + i]));
        }
        MUST(MPI_Waitall(2 * EACH, requests, MPI_STATUSES_IGNORE));
        for (int i = 0; i < EACH; i++) {
            size_t size = (size_t)SIZES[i % (sizes - 3)];
            CHECK(differs(rooms[i], size, (uint64_t)(with * 100 + i)) < 0, "message %d of %zu bytes from %d", i, size, with);
            CHECK(guarded(rooms[i], size), "message %d from %d: written beyond the end", i, with);
            free(rooms[i]);
            free(rooms[EACH + i]);
        }
    }
}

/* What is not contiguous in memory. */
static void datatypes(void)
{
    enum { BLOCKS = 5000, STRIDE = 7, PER = 3 };
    MPI_Datatype vector, pair;
    MUST(MPI_Type_vector(BLOCKS, PER, STRIDE, MPI_INT, &vector));
    MUST(MPI_Type_commit(&vector));
    int lengths[2] = {1, 3};
    MPI_Aint places[2] = {0, 16};
    MPI_Datatype kinds[2] = {MPI_DOUBLE, MPI_CHAR};
    MUST(MPI_Type_create_struct(2, lengths, places, kinds, &pair));
    MUST(MPI_Type_commit(&pair));
    int *from = calloc(BLOCKS * STRIDE, sizeof(int)), *into = calloc(BLOCKS * STRIDE, sizeof(int));
    for (int round = 0; round < ranks; round++) {
        int with = partner_in(round);
        for (int i = 0; i < BLOCKS * STRIDE; i++) {
            from[i] = rank * 1000003 + i;
            into[i] = -1;
        }
        MPI_Request request;
        MUST(MPI_Irecv(into, 1, vector, with, 1, MPI_COMM_WORLD, &request));
        MUST(MPI_Ssend(from, 1, vector, with, 1, MPI_COMM_WORLD));
        MUST(MPI_Wait(&request, MPI_STATUS_IGNORE));
        for (int i = 0; i < (BLOCKS - 1) * STRIDE + PER; i++)
            CHECK(into[i] == (i % STRIDE < PER ? with * 1000003 + i : -1), "element %d of a vector from %d is %d", i, with, into[i]);
        unsigned char one[32], other[32];
        fill(one, sizeof one, (uint64_t)rank);
        memset(other, 0xee, sizeof other);
        MUST(MPI_Sendrecv(one, 1, pair, with, 2, other, 1, pair, with, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        unsigned char wanted[32];
        fill(wanted, sizeof wanted, (uint64_t)with);
        CHECK(!memcmp(other, wanted, 8) && !memcmp(other + 16, wanted + 16, 3) && other[8] == 0xee && other[19] == 0xee, "a struct from %d", with);
    }
    free(from);
    free(into);
    MUST(MPI_Type_free(&vector));
    MUST(MPI_Type_free(&pair));
}

int main(int count, char **words)
{
    begin(&count, &words, MPI_THREAD_SINGLE);
    while (sizes > 4 && SIZES[sizes - 1] > longest())
        sizes--;
    out = room(LARGEST);
    in = room(LARGEST);
    int space = LARGEST * 2 + 4 * MPI_BSEND_OVERHEAD;
    void *buffered = malloc((size_t)space);
    MUST(MPI_Buffer_attach(buffered, space));
    PART(all_modes);
    PART(receives_that_come_late);
    PART(sendrecv);
    PART(many_at_once);
    PART(datatypes);
    void *back;
    MUST(MPI_Buffer_detach(&back, &space));
    free(buffered);
    free(out);
    free(in);
    return finish("p2p");
}
