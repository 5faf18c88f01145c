/* Two processes: `pair FOLDER 0 ROLE` and `pair FOLDER 1 ROLE`. They tell each other their addresses by files in FOLDER.
 *
 * ROLE: `all` exchanges everything there is; in `die` number 1 ends without a word, and number 0 is to notice. */

#include "fab.h"
#include <signal.h>

#define LARGE (4u << 20)

static struct fab fab;
static fi_addr_t peer;
static int me;
static const char *folder;
static unsigned char out[LARGE], in[LARGE], window[LARGE];

static void say(const char *what, const void *bytes, size_t len)
{
    char path[500], ready[600];
    snprintf(path, sizeof path, "%s/%s%d.new", folder, what, me);
    snprintf(ready, sizeof ready, "%s/%s%d", folder, what, me);
    FILE *file = fopen(path, "w");
    CHECK(file && fwrite(bytes, 1, len, file) == len && !fclose(file));
    CHECK(!rename(path, ready));
}

static void hear(const char *what, void *bytes, size_t len)
{
    char path[500];
    snprintf(path, sizeof path, "%s/%s%d", folder, what, !me);
    double until = now() + PATIENCE;
    FILE *file;
    while (!(file = fopen(path, "r"))) {
        CHECK(now() < until);
        usleep(1000);
    }
    CHECK(fread(bytes, 1, len, file) == len && !fclose(file));
}

static void meet(void)
{
    char name[64], other[64];
    size_t len = sizeof name;
    OK(fi_getname(&fab.ep->fid, name, &len));
    say("name", name, len);
    hear("name", other, len);
    CHECK(fi_av_insert(fab.av, other, 1, &peer, 0, NULL) == 1);
}

/* Both have come here. */
static void together(void)
{
    static int ours, theirs;
    char byte = 0;
    POST(&fab, fi_trecv(fab.ep, &byte, 1, NULL, peer, 0xbabe, 0, &theirs));
    POST(&fab, fi_tsend(fab.ep, NULL, 0, NULL, peer, 0xbabe, &ours));
    fab_wait(&fab, &theirs);
    fab_wait(&fab, &ours);
}

static void tagged(void)
{
    static const size_t sizes[] = { 0, 1, 8, 24, 25, 32, 33, 120, 121, 128, 129, 1000, 1436, 1437, 1452, 1453, 4096, 8904,
        9000, 16384, 32752, 32760, 32768, 32769, 65536, 1u << 20, LARGE };
    int r[2], s[2];
    for (unsigned at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        size_t len = sizes[at];
        for (int data = 0; data < 2; data++) {
            uint64_t tag = (uint64_t)at << 40 | 17;
            memset(in, 0xee, len);
            fill(out, len, at + (unsigned)me);
            POST(&fab, fi_trecv(fab.ep, in, sizeof in, NULL, peer, tag & ~0xffull, 0xff, &r[0]));
            if (data)
                POST(&fab, fi_tsenddata(fab.ep, out, len, NULL, ~(uint64_t)at, peer, tag, &s[0]));
            else
                POST(&fab, fi_tsend(fab.ep, out, len, NULL, peer, tag, &s[0]));
            struct fi_cq_tagged_entry got = fab_wait(&fab, &r[0]);
            fab_wait(&fab, &s[0]);
            CHECK(got.len == len && got.tag == tag);
            CHECK(!!(got.flags & FI_REMOTE_CQ_DATA) == data);
            CHECK(!data || got.data == ~(uint64_t)at);
            CHECK(filled(in, len, at + (unsigned)!me));
        }
    }
    /* Pieces. */
    struct iovec pieces[3] = { { out, 1000 }, { out + 1000, 0 }, { out + 1000, 49000 } };
    struct iovec others[2] = { { in, 7 }, { in + 7, 49993 } };
    fill(out, 50000, 3);
    memset(in, 0, 50000);
    POST(&fab, fi_trecvv(fab.ep, others, NULL, 2, FI_ADDR_UNSPEC, 5, 0, &r[0]));
    POST(&fab, fi_tsendv(fab.ep, pieces, NULL, 3, peer, 5, &s[0]));
    CHECK(fab_wait(&fab, &r[0]).len == 50000);
    fab_wait(&fab, &s[0]);
    CHECK(filled(in, 50000, 3));
    /* At once, and reusable at once. */
    static const size_t short_sizes[] = { 0, 8, 128, 129, 4096 };
    for (unsigned at = 0; at < 5; at++) {
        fill(out, short_sizes[at], at);
        POST(&fab, fi_tinject(fab.ep, out, short_sizes[at], peer, 100 + at));
        POST(&fab, fi_tinjectdata(fab.ep, out, short_sizes[at], at, peer, 200 + at));
        memset(out, 0xaa, short_sizes[at]);
        POST(&fab, fi_trecv(fab.ep, in, sizeof in, NULL, peer, 100 + at, 0, &r[0]));
        CHECK(fab_wait(&fab, &r[0]).len == short_sizes[at] && filled(in, short_sizes[at], at));
        POST(&fab, fi_trecv(fab.ep, in, sizeof in, NULL, peer, 200 + at, 0, &r[0]));
        struct fi_cq_tagged_entry got = fab_wait(&fab, &r[0]);
        CHECK(got.data == at && (got.flags & FI_REMOTE_CQ_DATA) && filled(in, short_sizes[at], at));
    }
    together();
}

static void order(void)
{
    enum { COUNT = 2000 };
    static uint32_t values[COUNT], got[COUNT];
    static int contexts[COUNT];
    for (uint32_t at = 0; at < COUNT; at++) {
        values[at] = at;
        POST(&fab, fi_tinject(fab.ep, &values[at], 4, peer, 9));
        if (at % 2)
            POST(&fab, fi_trecv(fab.ep, &got[at / 2], 4, NULL, peer, 9, 0, &contexts[at / 2]));
    }
    for (uint32_t at = COUNT / 2; at < COUNT; at++)
        POST(&fab, fi_trecv(fab.ep, &got[at], 4, NULL, FI_ADDR_UNSPEC, 9, 0, &contexts[at]));
    for (uint32_t at = 0; at < COUNT; at++) {
        struct fi_cq_tagged_entry entry;
        struct fi_cq_err_entry error;
        CHECK(!fab_next(&fab, &entry, &error));
        CHECK(entry.op_context == &contexts[at] && got[at] == at);
    }
    together();
}

static void looks(void)
{
    int r, c, s;
    struct fi_msg_tagged look = { .addr = peer, .tag = 0x77, .context = &c };
    /* Nothing there. */
    OK(fi_trecvmsg(fab.ep, &look, FI_PEEK | FI_COMPLETION));
    fab_fails(&fab, &c, FI_ENOMSG);
    together();
    fill(out, LARGE, 9);
    POST(&fab, fi_tsend(fab.ep, out, LARGE, NULL, peer, 0x77, &s));
    POST(&fab, fi_tinjectdata(fab.ep, out, 100, 42, peer, 0x77));
    POST(&fab, fi_tinject(fab.ep, out, 101, peer, 0x77));
    POST(&fab, fi_tinject(fab.ep, out, 102, peer, 0x77));
    /* It comes; it stays. */
    struct fi_cq_tagged_entry seen;
    struct fi_cq_err_entry error;
    double until = now() + PATIENCE;
    for (;;) {
        OK(fi_trecvmsg(fab.ep, &look, FI_PEEK | FI_COMPLETION));
        if (!fab_next(&fab, &seen, &error))
            break;
        CHECK(error.err == FI_ENOMSG && now() < until);
    }
    CHECK(seen.len == LARGE && seen.tag == 0x77 && seen.op_context == &c);
    /* The first is claimed, so that a receive gets the second. */
    OK(fi_trecvmsg(fab.ep, &look, FI_PEEK | FI_CLAIM | FI_COMPLETION));
    CHECK(fab_wait(&fab, &c).len == LARGE);
    POST(&fab, fi_trecv(fab.ep, in, sizeof in, NULL, peer, 0x77, 0, &r));
    struct fi_cq_tagged_entry got = fab_wait(&fab, &r);
    CHECK(got.len == 100 && got.data == 42);
    struct iovec piece = { in, LARGE };
    struct fi_msg_tagged claim = { .msg_iov = &piece, .iov_count = 1, .context = &c };
    OK(fi_trecvmsg(fab.ep, &claim, FI_CLAIM | FI_COMPLETION));
    CHECK(fab_wait(&fab, &c).len == LARGE && filled(in, LARGE, 9));
    fab_wait(&fab, &s);
    /* The third is thrown away when seen, the fourth when claimed. */
    until = now() + PATIENCE;
    for (int thrown = 0; thrown < 2;) {
        uint64_t flags = thrown ? FI_PEEK | FI_CLAIM : FI_PEEK | FI_DISCARD;
        OK(fi_trecvmsg(fab.ep, &look, flags | FI_COMPLETION));
        if (!fab_next(&fab, &seen, &error))
            CHECK(seen.len == (size_t)(101 + thrown++));
        CHECK(now() < until);
    }
    OK(fi_trecvmsg(fab.ep, &claim, FI_CLAIM | FI_DISCARD | FI_COMPLETION));
    fab_wait(&fab, &c);
    FAILS(fi_trecvmsg(fab.ep, &claim, FI_CLAIM | FI_COMPLETION), FI_EINVAL);
    OK(fi_trecvmsg(fab.ep, &look, FI_PEEK | FI_COMPLETION));
    fab_fails(&fab, &c, FI_ENOMSG);
    /* A receive that nothing meets can be taken back. */
    POST(&fab, fi_trecv(fab.ep, in, 1, NULL, peer, 0x78, 0, &r));
    OK(fi_cancel(&fab.ep->fid, &r));
    fab_fails(&fab, &r, FI_ECANCELED);
    FAILS(fi_cancel(&fab.ep->fid, &r), FI_ENOENT);
    /* Too short a buffer. */
    POST(&fab, fi_tinjectdata(fab.ep, out, 100, 7, peer, 0x79));
    POST(&fab, fi_trecv(fab.ep, in, 60, NULL, peer, 0x79, 0, &r));
    error = fab_fails(&fab, &r, FI_ETRUNC);
    CHECK(error.len == 60 && error.olen == 40 && error.data == 7 && error.tag == 0x79);
    together();
}

static void untagged(void)
{
    int r[2], s;
    fill(out, 70000, 5);
    /* Tagged ones do not meet untagged receives. */
    POST(&fab, fi_recv(fab.ep, in, sizeof in, NULL, peer, &r[0]));
    POST(&fab, fi_trecv(fab.ep, window, sizeof window, NULL, peer, 0, ~0ull, &r[1]));
    POST(&fab, fi_tinject(fab.ep, out, 9, peer, 1234));
    POST(&fab, fi_senddata(fab.ep, out, 70000, NULL, 99, peer, &s));
    struct fi_cq_tagged_entry got = fab_wait(&fab, &r[0]);
    CHECK(got.len == 70000 && got.data == 99 && got.flags == (FI_RECV | FI_MSG | FI_REMOTE_CQ_DATA));
    CHECK(filled(in, 70000, 5));
    CHECK(fab_wait(&fab, &r[1]).len == 9);
    CHECK(fab_wait(&fab, &s).flags == (FI_SEND | FI_MSG));
    together();
    /* One buffer for many. */
    size_t least = 1000;
    OK(fi_setopt(&fab.ep->fid, FI_OPT_ENDPOINT, FI_OPT_MIN_MULTI_RECV, &least, sizeof least));
    struct iovec piece = { in, 10000 };
    struct fi_msg many = { .msg_iov = &piece, .iov_count = 1, .addr = FI_ADDR_UNSPEC, .context = &r[0] };
    POST(&fab, fi_recvmsg(fab.ep, &many, FI_MULTI_RECV | FI_COMPLETION));
    together();
    for (unsigned at = 0; at < 10; at++) {
        fill(out, 950, at);
        POST(&fab, fi_inject(fab.ep, out, 950, peer));
    }
    for (unsigned at = 0; at < 10; at++) {
        got = fab_wait(&fab, &r[0]);
        CHECK(got.len == 950 && got.buf == in + 950 * at && filled(got.buf, 950, at));
        CHECK(!!(got.flags & FI_MULTI_RECV) == (at == 9));
    }
    POST(&fab, fi_recvmsg(fab.ep, &many, FI_MULTI_RECV | FI_COMPLETION));
    OK(fi_cancel(&fab.ep->fid, &r[0]));
    CHECK(fab_fails(&fab, &r[0], FI_ECANCELED).flags & FI_MULTI_RECV);
    together();
    /* Who it is from. */
    POST(&fab, fi_inject(fab.ep, out, 3, peer));
    POST(&fab, fi_recv(fab.ep, in, 100, NULL, FI_ADDR_UNSPEC, &r[0]));
    fi_addr_t from = 12345;
    double until = now() + PATIENCE;
    ssize_t said;
    while ((said = fi_cq_readfrom(fab.cq, &got, 1, &from)) == -FI_EAGAIN)
        CHECK(now() < until);
    CHECK(said == 1 && got.op_context == &r[0] && from == peer);
    together();
}

struct far {
    uint64_t key, base;
};

static struct far exchange_keys(struct fid_mr *mr, int virtual, const char *what)
{
    struct far ours = { fi_mr_key(mr), virtual ? (uint64_t)(uintptr_t)window : 0 }, theirs;
    say(what, &ours, sizeof ours);
    hear(what, &theirs, sizeof theirs);
    return theirs;
}

static void memory(int virtual)
{
    static const size_t sizes[] = { 1, 8, 100, 1024, 1025, 4096, 40000, LARGE };
    struct fid_mr *mr;
    const char *what = virtual ? "basic" : "scalable";
    OK(fi_mr_reg(fab.domain, window, sizeof window, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 7, 0, &mr, NULL));
    struct far far = exchange_keys(mr, virtual, what);
    CHECK(virtual || far.key == 7);
    int a;
    for (unsigned at = 0; at < 8; at++) {
        size_t len = sizes[at];
        fill(out, len, at);
        POST(&fab, fi_write(fab.ep, out, len, NULL, peer, far.base, far.key, &a));
        CHECK(fab_wait(&fab, &a).flags == (FI_RMA | FI_WRITE));
        memset(in, 0, len);
        POST(&fab, fi_read(fab.ep, in, len, NULL, peer, far.base, far.key, &a));
        CHECK(fab_wait(&fab, &a).flags == (FI_RMA | FI_READ));
        CHECK(filled(in, len, at));
    }
    together();
    /* With a word to the other side. */
    for (unsigned at = 0; at < 2; at++) {
        size_t len = at ? 50000 : 50;
        fill(out, len, 60 + at);
        POST(&fab, fi_writedata(fab.ep, out, len, NULL, 4321, peer, far.base + 100, far.key, &a));
        struct fi_cq_tagged_entry told = fab_wait(&fab, NULL);
        CHECK(told.data == 4321 && told.len == len && told.flags == (FI_RMA | FI_REMOTE_WRITE | FI_REMOTE_CQ_DATA));
        CHECK(filled(window + 100, len, 60 + at));
        fab_wait(&fab, &a);
        together();
    }
    POST(&fab, fi_inject_write(fab.ep, out, 3000, peer, far.base, far.key));
    /* Longer than what keeps its order: it is there when it can be read. */
    double until = now() + PATIENCE;
    do {
        CHECK(now() < until);
        POST(&fab, fi_read(fab.ep, in, 3000, NULL, peer, far.base, far.key, &a));
        fab_wait(&fab, &a);
    } while (!filled(in, 3000, 61));
    together();
    /* What is refused. */
    POST(&fab, fi_read(fab.ep, in, 8, NULL, peer, far.base + LARGE - 7, far.key, &a));
    fab_fails(&fab, &a, FI_EINVAL);
    POST(&fab, fi_write(fab.ep, out, 8, NULL, peer, far.base, far.key + 1, &a));
    fab_fails(&fab, &a, FI_ENOKEY);
    POST(&fab, fi_write(fab.ep, out, 100000, NULL, peer, far.base, far.key + 1, &a));
    fab_fails(&fab, &a, 0);
    together();
    /* Atomically: both add to what is number 0's. */
    memset(window, 0, 4096);
    together();
    uint64_t one = 1, was;
    if (me == 1)
        for (int at = 0; at < 500; at++) {
            POST(&fab, fi_fetch_atomic(fab.ep, &one, 1, NULL, &was, NULL, peer, far.base + 8, far.key, FI_UINT64,
                                       FI_SUM, &a));
            fab_wait(&fab, &a);
            CHECK(was == (uint64_t)at);
        }
    together();
    CHECK(me == 1 || *(uint64_t *)(window + 8) == 500);
    double halves[3] = { 0.5, 1.5, 2.5 };
    POST(&fab, fi_atomic(fab.ep, halves, 3, NULL, peer, far.base + 64, far.key, FI_DOUBLE, FI_SUM, &a));
    CHECK(fab_wait(&fab, &a).flags == (FI_ATOMIC | FI_WRITE));
    together();
    double sums[3];
    memcpy(sums, window + 64, sizeof sums);
    CHECK(sums[0] == 0.5 && sums[2] == 2.5);
    uint64_t with = 11, compare = 0;
    POST(&fab, fi_compare_atomic(fab.ep, &with, 1, NULL, &compare, NULL, &was, NULL, peer, far.base + 128, far.key,
                                 FI_UINT64, FI_CSWAP, &a));
    CHECK(fab_wait(&fab, &a).flags == (FI_ATOMIC | FI_READ) && was == 0);
    POST(&fab, fi_compare_atomic(fab.ep, &with, 1, NULL, &compare, NULL, &was, NULL, peer, far.base + 128, far.key,
                                 FI_UINT64, FI_CSWAP, &a));
    CHECK((fab_wait(&fab, &a), was == 11));
    together();
    OK(fi_close(&mr->fid));
    /* It is not there any more. */
    together();
    POST(&fab, fi_read(fab.ep, in, 8, NULL, peer, far.base, far.key, &a));
    fab_fails(&fab, &a, FI_ENOKEY);
    together();
    /* What may only be read. */
    OK(fi_mr_reg(fab.domain, window, 64, FI_REMOTE_READ, 0, 8, 0, &mr, NULL));
    far = exchange_keys(mr, virtual, virtual ? "basic-read" : "scalable-read");
    POST(&fab, fi_write(fab.ep, out, 8, NULL, peer, far.base, far.key, &a));
    fab_fails(&fab, &a, FI_EACCES);
    POST(&fab, fi_read(fab.ep, in, 64, NULL, peer, far.base, far.key, &a));
    fab_wait(&fab, &a);
    together();
    OK(fi_close(&mr->fid));
}

/* Asleep until something comes. */
static void sleeps(void)
{
    int r, s, fd;
    struct fi_cq_tagged_entry entry;
    CHECK(fi_cq_sread(fab.cq, &entry, 1, NULL, 1) == -FI_EAGAIN);
    OK(fi_control(&fab.cq->fid, FI_GETWAIT, &fd));
    for (int turn = 0; turn < 50; turn++) {
        POST(&fab, fi_trecv(fab.ep, in, 100, NULL, peer, 70, 0, &r));
        if (turn % 2 != me) {
            usleep(2000);
            POST(&fab, fi_tsend(fab.ep, out, 10, NULL, peer, 70, &s));
            fab_wait(&fab, &s);
            OK(fi_cancel(&fab.ep->fid, &r));
            fab_fails(&fab, &r, FI_ECANCELED);
        } else if (turn % 4 < 2) {
            ssize_t said;
            double until = now() + PATIENCE;
            while ((said = fi_cq_sread(fab.cq, &entry, 1, NULL, 10000)) == -FI_EAGAIN)
                CHECK(now() < until);
            CHECK(said == 1 && entry.op_context == &r);
        } else {
            struct fid *fids[] = { &fab.cq->fid };
            double until = now() + PATIENCE;
            ssize_t said;
            while ((said = fi_cq_read(fab.cq, &entry, 1)) == -FI_EAGAIN) {
                CHECK(now() < until);
                if (fi_trywait(fab.fabric, fids, 1) == 0) {
                    struct pollfd pollfd = { .fd = fd, .events = POLLIN };
                    CHECK(poll(&pollfd, 1, 30000) == 1);
                }
            }
            CHECK(said == 1 && entry.op_context == &r);
        }
    }
    together();
}

static void all(int virtual, uint64_t bind, enum fi_wait_obj wait)
{
    fab_open(&fab, virtual ? FI_MR_BASIC : FI_MR_SCALABLE, bind, wait);
    OK(fi_enable(fab.ep));
    meet();
    together();
    tagged();
    order();
    looks();
    untagged();
    memory(virtual);
    if (wait == FI_WAIT_FD)
        sleeps();
    fab_close(&fab);
}

/* Only what asks for it is told; counters count all of it. */
static void counts(void)
{
    static struct fid_cntr *sends, *receives;
    fab_open(&fab, FI_MR_SCALABLE, FI_SELECTIVE_COMPLETION, FI_WAIT_NONE);
    OK(fi_cntr_open(fab.domain, NULL, &sends, NULL));
    OK(fi_cntr_open(fab.domain, NULL, &receives, NULL));
    OK(fi_ep_bind(fab.ep, &sends->fid, FI_SEND));
    OK(fi_ep_bind(fab.ep, &receives->fid, FI_RECV));
    OK(fi_enable(fab.ep));
    meet();
    int r, s;
    struct iovec piece = { out, 10 };
    struct fi_msg_tagged loud = { .msg_iov = &piece, .iov_count = 1, .addr = peer, .tag = 2, .context = &s };
    for (int at = 0; at < 10; at++) {
        POST(&fab, fi_trecv(fab.ep, in, 100, NULL, peer, 1, 0, NULL));
        POST(&fab, fi_tsend(fab.ep, out, 10, NULL, peer, 1, NULL));
        POST(&fab, fi_tinject(fab.ep, out, 10, peer, 1));
        POST(&fab, fi_trecv(fab.ep, in, 100, NULL, peer, 1, 0, NULL));
    }
    OK(fi_cntr_wait(receives, 20, 60000));
    OK(fi_cntr_wait(sends, 20, 60000));
    struct fi_cq_tagged_entry entry;
    FAILS(fi_cq_read(fab.cq, &entry, 1), FI_EAGAIN);
    struct iovec into = { in, 100 };
    struct fi_msg_tagged heard = { .msg_iov = &into, .iov_count = 1, .addr = peer, .tag = 2, .context = &r };
    POST(&fab, fi_trecvmsg(fab.ep, &heard, FI_COMPLETION));
    POST(&fab, fi_tsendmsg(fab.ep, &loud, FI_COMPLETION | FI_DELIVERY_COMPLETE));
    CHECK(fab_wait(&fab, &r).len == 10);
    fab_wait(&fab, &s);
    OK(fi_close(&fab.ep->fid));
    OK(fi_close(&sends->fid));
    OK(fi_close(&receives->fid));
    OK(fi_close(&fab.cq->fid));
    OK(fi_close(&fab.av->fid));
    OK(fi_close(&fab.domain->fid));
    OK(fi_close(&fab.fabric->fid));
    fi_freeinfo(fab.info);
}

/* Waits for the failures of operations of which this was said when they were begun: others have failed at once. */
static void all_fail(const long *said, void **contexts, int count)
{
    for (int one = 0; one < count; one++) {
        CHECK(said[one] <= 0);
        if (said[one] != 0)
            continue;
        struct fi_cq_tagged_entry entry;
        struct fi_cq_err_entry error;
        CHECK(fab_next(&fab, &entry, &error));
        CHECK(strlen(fi_cq_strerror(fab.cq, error.prov_errno, NULL, NULL, 0)) > 0);
        int at = 0;
        while (at < count && (said[at] != 0 || contexts[at] != error.op_context))
            at++;
        CHECK(at < count);
        contexts[at] = NULL;
    }
}

static void die(void)
{
    int r, s, w, before, heard;
    fab_open(&fab, FI_MR_SCALABLE, 0, FI_WAIT_NONE);
    OK(fi_enable(fab.ep));
    meet();
    if (me == 1)
        POST(&fab, fi_tinject(fab.ep, out, 10, peer, 0x55));
    together();
    if (me == 1) {
        /* So that number 0 has got all that it waits for before. */
        hear("ready", &heard, sizeof heard);
        say("dead", &me, sizeof me);
        raise(SIGKILL);
    }
    say("ready", &me, sizeof me);
    /* All three fail: at once, if number 1 is dead by now and that is known. */
    long said[3];
    ASK(&fab, said[0], fi_trecv(fab.ep, in, 100, NULL, peer, 1, 0, &r));
    ASK(&fab, said[1], fi_tsend(fab.ep, out, LARGE, NULL, peer, 1, &s));
    ASK(&fab, said[2], fi_read(fab.ep, in + 1000, 8, NULL, peer, 0, 1, &w));
    all_fail(said, (void *[]){ &r, &s, &w }, 3);
    hear("dead", &heard, sizeof heard);
    /* Now that it is known: nobody waits for what cannot come any more. */
    ASK(&fab, said[0], fi_tsend(fab.ep, out, 8, NULL, peer, 1, &s));
    CHECK(said[0] < 0);
    struct iovec piece = { in, 10000 };
    struct fi_msg many = { .msg_iov = &piece, .iov_count = 1, .addr = peer, .context = &w };
    ASK(&fab, said[0], fi_trecv(fab.ep, in, 100, NULL, peer, 1, 0, &r));
    ASK(&fab, said[1], fi_recv(fab.ep, in, 100, NULL, peer, &s));
    ASK(&fab, said[2], fi_recvmsg(fab.ep, &many, FI_MULTI_RECV | FI_COMPLETION));
    all_fail(said, (void *[]){ &r, &s, &w }, 3);
    /* What has come before is there. */
    POST(&fab, fi_trecv(fab.ep, in, 100, NULL, peer, 0x55, 0, &before));
    CHECK(fab_wait(&fab, &before).len == 10);
    fab_close(&fab);
}

int main(int count, char **words)
{
    CHECK(count == 4);
    folder = words[1];
    me = atoi(words[2]);
    if (!strcmp(words[3], "die"))
        die();
    else if (!strcmp(words[3], "basic"))
        all(1, 0, FI_WAIT_NONE);
    else if (!strcmp(words[3], "scalable"))
        all(0, 0, FI_WAIT_FD);
    else
        counts();
    puts("all as it should be");
    return 0;
}
