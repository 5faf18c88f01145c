/* What a message of 8 bytes takes its receiver over libfabric's provider `myrixen`, with many others before it: `matching MILLISECONDS LENGTH...`.
 * For each length prints `posted LENGTH NS NS_WITHOUT` and `unexpected LENGTH NS NS_WITHOUT`, medians.
 *
 * One thread plays both ends, so that nothing but the receiver's part is in the time: posting the receive, finding the message in the ring, bringing
 * both together, reading the completion. */
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_tagged.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What stands before has tags from here on; the measured messages have smaller ones. */
#define BEFORE ((uint64_t)1 << 32)
/* Messages between two looks at how late it is, and at acknowledgements. */
enum { BATCH = 64, LEAST = 640, MOST = 1 << 20, SETTLED = 1000, SIZE = 8 };

/* A board: endpoints of one have no direct channel to each other. */
struct board {
    struct fi_info *info;
    struct fid_domain *domain;
    struct fid_av *av;
};

struct end {
    struct board *board;
    struct fid_ep *ep;
    struct fid_cq *cq;
    fi_addr_t other;
};

static struct board boards[2];
static char out[SIZE], in[SIZE];
static char (*before)[SIZE];

static void fail(const char *what, long why)
{
    fprintf(stderr, "%s: %s\n", what, fi_strerror((int)-why));
    exit(1);
}

static void ok(const char *what, long said)
{
    if (said != 0)
        fail(what, said);
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

/* Far longer than anything takes. */
static int64_t patience(void)
{
    return now() + (int64_t)10000000000;
}

static void be_in_time(int64_t until, const char *what)
{
    if (now() > until) {
        fprintf(stderr, "%s took more than ten seconds\n", what);
        exit(1);
    }
}

/* Works for an end; whether the completion of a receive with this tag has come. */
static int look(struct end *end, uint64_t tag)
{
    struct fi_cq_tagged_entry entry;
    ssize_t said = fi_cq_read(end->cq, &entry, 1);
    if (said == -FI_EAGAIN)
        return 0;
    if (said == -FI_EAVAIL) {
        struct fi_cq_err_entry error = { 0 };
        fi_cq_readerr(end->cq, &error, 0);
        fail("a request failed", -error.err);
    }
    if (said != 1)
        fail("fi_cq_read", said);
    if (entry.tag != tag || entry.len != SIZE) {
        fprintf(stderr, "%zu bytes of tag %#llx came instead of tag %#llx\n", entry.len, (unsigned long long)entry.tag,
                (unsigned long long)tag);
        exit(1);
    }
    return 1;
}

static void open_board(struct board *board, struct fi_info *info)
{
    struct fid_fabric *fabric;
    struct fi_av_attr attr = { .type = FI_AV_TABLE };
    board->info = info;
    ok("fi_fabric", fi_fabric(info->fabric_attr, &fabric, NULL));
    ok("fi_domain", fi_domain(fabric, info, &board->domain, NULL));
    ok("fi_av_open", fi_av_open(board->domain, &attr, &board->av, NULL));
}

static void open_end(struct end *end, struct board *board)
{
    end->board = board;
    struct fi_cq_attr attr = { .format = FI_CQ_FORMAT_TAGGED, .wait_obj = FI_WAIT_NONE };
    ok("fi_cq_open", fi_cq_open(board->domain, &attr, &end->cq, NULL));
    ok("fi_endpoint", fi_endpoint(board->domain, board->info, &end->ep, NULL));
    ok("fi_ep_bind", fi_ep_bind(end->ep, &board->av->fid, 0));
    ok("fi_ep_bind", fi_ep_bind(end->ep, &end->cq->fid, FI_TRANSMIT | FI_RECV));
    ok("fi_enable", fi_enable(end->ep));
}

static void know(struct end *end, struct end *other)
{
    char name[64];
    size_t len = sizeof name;
    ok("fi_getname", fi_getname(&other->ep->fid, name, &len));
    if (fi_av_insert(end->board->av, name, 1, &end->other, 0, NULL) != 1)
        fail("fi_av_insert", -FI_EINVAL);
}

static void shut(struct end *end)
{
    ok("fi_close", fi_close(&end->ep->fid));
    ok("fi_close", fi_close(&end->cq->fid));
}

static void send_one(struct end *from, struct end *to, uint64_t tag)
{
    int64_t until = patience();
    ssize_t said;
    while ((said = fi_tinject(from->ep, out, SIZE, from->other, tag)) == -FI_EAGAIN) {
        be_in_time(until, "sending");
        look(from, 0);
        look(to, 0);
    }
    ok("fi_tinject", said);
}

static void post(struct end *end, void *room, uint64_t tag)
{
    ok("fi_trecv", fi_trecv(end->ep, room, SIZE, NULL, end->other, tag, 0, room));
}

/* Works for an end until a message of this tag has come; how often it looked. */
static int await(struct end *end, uint64_t tag)
{
    int looks = 1;
    int64_t until = 0;
    for (; !look(end, tag); looks++) {
        if (looks % 1024 != 0)
            continue;
        until = until ? until : patience();
        be_in_time(until, "a message");
    }
    return looks;
}

/* What a message takes for which a receive is posted; the looks for its completion are told. */
static int64_t posted(struct end *from, struct end *to, uint64_t tag, int *looks)
{
    int64_t begun = now();
    post(to, in, tag);
    int64_t posting = now() - begun;
    send_one(from, to, tag);
    begun = now();
    *looks = await(to, tag);
    return posting + now() - begun;
}

/* What a message takes that arrives before it is received. */
static int64_t unexpected(struct end *from, struct end *to, uint64_t tag, int *looks)
{
    send_one(from, to, tag);
    int64_t begun = now();
    look(to, 0);
    post(to, in, tag);
    *looks = await(to, tag);
    return now() - begun;
}

/* Until the two have a direct channel: then a message is there as soon as it is sent. */
static void settle(struct end *from, struct end *to)
{
    int64_t until = patience();
    for (int in_a_row = 0, looks; in_a_row < SETTLED; in_a_row = looks == 1 ? in_a_row + 1 : 0) {
        be_in_time(until, "opening a direct channel");
        posted(from, to, 0, &looks);
        look(from, 0);
    }
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* What two readings of the clock, each twice around nothing, take. */
static int64_t clock_cost(void)
{
    static int64_t took[1000];
    for (int i = 0; i < 1000; i++) {
        int64_t begun = now();
        took[i] = now() - begun;
    }
    qsort(took, 1000, sizeof *took, by_size);
    return took[500];
}

/* The median time of a message in nanoseconds, with so many entries before it. */
static int64_t median(int is_posted, uint64_t entries, int64_t wanted)
{
    static int64_t took[MOST];
    struct end from, to;
    open_end(&from, &boards[0]);
    open_end(&to, &boards[1]);
    know(&from, &to);
    know(&to, &from);
    settle(&from, &to);
    for (uint64_t i = 0; i < entries; i++) {
        if (is_posted) {
            post(&to, before[i], BEFORE + i);
        } else {
            send_one(&from, &to, BEFORE + i);
            if (i % BATCH == 0 || i + 1 == entries) {
                look(&to, 0);
                look(&from, 0);
            }
        }
    }
    int64_t until = now() + wanted;
    int count = 0, looks, all = 0;
    while (count < LEAST || (now() < until && count + BATCH <= MOST)) {
        for (uint64_t tag = 0; tag < BATCH; tag++) {
            took[count++] = is_posted ? posted(&from, &to, tag, &looks) : unexpected(&from, &to, tag, &looks);
            all += looks;
        }
        look(&from, 0);
    }
    /* Else something has been waited for, and is in the time. */
    if (all > count + count / 10) {
        fprintf(stderr, "%d messages were looked for %d times\n", count, all);
        exit(1);
    }
    if (!is_posted && entries > 0) {
        /* They were there all the time. */
        for (uint64_t i = 0; i < entries; i++) {
            post(&to, in, BEFORE + i);
            await(&to, BEFORE + i);
        }
    }
    shut(&from);
    shut(&to);
    qsort(took, (size_t)count, sizeof *took, by_size);
    int64_t clock = is_posted ? 2 * clock_cost() : clock_cost();
    return took[count / 2] > clock ? took[count / 2] - clock : 1;
}

int main(int count, char **words)
{
    struct fi_info *hints = fi_allocinfo(), *info;
    uint64_t longest = 1;
    int64_t wanted = count > 1 ? atoll(words[1]) * 1000000 : 20000000;
    for (int i = 2; i < count; i++)
        longest = strtoull(words[i], NULL, 10) > longest ? strtoull(words[i], NULL, 10) : longest;
    before = calloc(longest, SIZE);
    if (!hints || !before)
        fail("memory", -FI_ENOMEM);
    hints->caps = FI_TAGGED | FI_DIRECTED_RECV;
    hints->ep_attr->type = FI_EP_RDM;
    hints->fabric_attr->prov_name = strdup("myrixen");
    ok("fi_getinfo", fi_getinfo(FI_VERSION(1, 9), NULL, NULL, 0, hints, &info));
    if (!info->next) {
        fprintf(stderr, "FI_MYRIXEN_BOARDS has to name two boards\n");
        exit(1);
    }
    open_board(&boards[0], info);
    open_board(&boards[1], info->next);
    for (int is_posted = 1; is_posted >= 0; is_posted--) {
        for (int i = 2; i < count; i++) {
            uint64_t entries = strtoull(words[i], NULL, 10);
            /* Anew each time: what the machine does besides changes by the second. */
            long long empty = median(is_posted, 0, wanted), took = median(is_posted, entries, wanted);
            printf("%s %llu %lld %lld\n", is_posted ? "posted" : "unexpected", (unsigned long long)entries, took, empty);
            fflush(stdout);
        }
    }
    return 0;
}
