/* What an endpoint does while a peer sends it service messages as it likes (tests/hostile.rs): `besieged FOLDER ROLE`.
 *
 * ROLE: `target` lends memory to peers and says how much it uses when it is asked to; `peer` reads and writes that memory, as it should be done, and
 * checks every byte; `origin` begins operations on the memory of one who answers wrongly. They meet by files in FOLDER. */

#include "fab.h"
#include <malloc.h>
#include <sys/stat.h>

#define WINDOW (1u << 20)
#define FENCE 4096

static struct fab fab;
static const char *folder;

static void say(const char *what, const void *bytes, size_t len)
{
    char path[500], ready[600];
    snprintf(path, sizeof path, "%s/%s.new", folder, what);
    snprintf(ready, sizeof ready, "%s/%s", folder, what);
    FILE *file = fopen(path, "w");
    CHECK(file && fwrite(bytes, 1, len, file) == len && !fclose(file));
    CHECK(!rename(path, ready));
}

static int is_said(const char *what)
{
    char path[500];
    struct stat there;
    snprintf(path, sizeof path, "%s/%s", folder, what);
    return stat(path, &there) == 0;
}

static void hear(const char *what, void *bytes, size_t len)
{
    char path[500];
    double until = now() + PATIENCE;
    while (!is_said(what)) {
        CHECK(now() < until);
        usleep(1000);
    }
    snprintf(path, sizeof path, "%s/%s", folder, what);
    FILE *file = fopen(path, "r");
    CHECK(file && fread(bytes, 1, len, file) == len && !fclose(file));
}

/* What the target tells: its address, and the three memories it lends. */
struct told {
    char name[16];
    struct {
        uint64_t base, key;
    } good, shared, shown;
};

/* A memory between two fences. */
static unsigned char *fenced(unsigned seed)
{
    unsigned char *all = malloc(WINDOW + 2 * FENCE);
    CHECK(all);
    fill(all, WINDOW + 2 * FENCE, seed);
    return all + FENCE;
}

static void check_fences(unsigned char *memory, unsigned seed)
{
    unsigned char *as_it_was = malloc(WINDOW + 2 * FENCE);
    CHECK(as_it_was);
    fill(as_it_was, WINDOW + 2 * FENCE, seed);
    CHECK(!memcmp(memory - FENCE, as_it_was, FENCE));
    CHECK(!memcmp(memory + WINDOW, as_it_was + FENCE + WINDOW, FENCE));
    free(as_it_was);
}

static void target(void)
{
    fab_open(&fab, FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY, 0, FI_WAIT_NONE);
    OK(fi_enable(fab.ep));
    unsigned char *memory[3] = { fenced(1), fenced(2), fenced(3) };
    struct fid_mr *mr[3];
    for (int at = 0; at < 3; at++) {
        uint64_t access = at == 2 ? FI_REMOTE_READ : FI_REMOTE_READ | FI_REMOTE_WRITE;
        OK(fi_mr_reg(fab.domain, memory[at], WINDOW, access, 0, 0, 0, &mr[at], NULL));
    }
    struct told told;
    size_t len = sizeof told.name;
    OK(fi_getname(&fab.ep->fid, told.name, &len));
    CHECK(len == sizeof told.name);
    told.good.base = (uintptr_t)memory[0], told.good.key = fi_mr_key(mr[0]);
    told.shared.base = (uintptr_t)memory[1], told.shared.key = fi_mr_key(mr[1]);
    told.shown.base = (uintptr_t)memory[2], told.shown.key = fi_mr_key(mr[2]);
    memset(memory[0], 0, WINDOW);
    say("told", &told, sizeof told);
    int reports = 0;
    while (!is_said("stop")) {
        char wanted[50], report[60];
        snprintf(wanted, sizeof wanted, "report%d", reports);
        snprintf(report, sizeof report, "use%d", reports);
        if (is_said(wanted)) {
            struct mallinfo2 info = mallinfo2();
            uint64_t bytes = info.uordblks + info.hblkhd;
            say(report, &bytes, sizeof bytes);
            reports++;
        }
        if (!is_said("look")) {
            /* Others work for the endpoint: nobody comes to see what has ended. */
            usleep(2000);
            continue;
        }
        for (int at = 0; at < 100; at++) {
            struct fi_cq_tagged_entry entry;
            ssize_t said = fi_cq_read(fab.cq, &entry, 1);
            /* Only what peers wish to be told. */
            CHECK(said == -FI_EAGAIN || (said == 1 && entry.flags == (FI_RMA | FI_REMOTE_WRITE | FI_REMOTE_CQ_DATA)));
        }
    }
    for (int at = 0; at < 3; at++) {
        OK(fi_close(&mr[at]->fid));
        check_fences(memory[at], (unsigned)at + 1);
    }
    unsigned char *as_it_was = malloc(WINDOW + FENCE);
    CHECK(as_it_was);
    fill(as_it_was, WINDOW + FENCE, 3);
    CHECK(!memcmp(memory[2], as_it_was + FENCE, WINDOW));
    fab_close(&fab);
}

static fi_addr_t of_name(const char *name)
{
    fi_addr_t address;
    CHECK(fi_av_insert(fab.av, name, 1, &address, 0, NULL) == 1);
    return address;
}

/* 5,000 writes that are too long for a request, while the target does not look: its limit of those under way is not met by those that are over. */
static void many_writes(fi_addr_t to, uint64_t base, uint64_t key, unsigned char *out)
{
    enum { ROUNDS = 500, AT_ONCE = 10, EACH = 2000 };
    static int contexts[AT_ONCE];
    for (int round = 0; round < ROUNDS; round++) {
        for (int at = 0; at < AT_ONCE; at++)
            POST(&fab, fi_write(fab.ep, out + at * EACH, EACH, NULL, to, base + 100000 + (unsigned)at * EACH, key, &contexts[at]));
        for (int at = 0; at < AT_ONCE; at++)
            fab_wait(&fab, &contexts[at]);
    }
}

/* One of everything, checked. */
static void everything(fi_addr_t to, uint64_t base, uint64_t key, unsigned char *out, unsigned char *in, unsigned round)
{
    static const size_t sizes[] = { 1, 8, 1000, 1025, 30000, 300000 };
    int a;
    for (unsigned at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        fill(out, sizes[at], round + at);
        memset(in, 0, sizes[at]);
        POST(&fab, fi_write(fab.ep, out, sizes[at], NULL, to, base + 4096, key, &a));
        fab_wait(&fab, &a);
        POST(&fab, fi_read(fab.ep, in, sizes[at], NULL, to, base + 4096, key, &a));
        fab_wait(&fab, &a);
        CHECK(filled(in, sizes[at], round + at));
    }
    uint64_t one = 1, was = 77, next = round + 1;
    POST(&fab, fi_fetch_atomic(fab.ep, &one, 1, NULL, &was, NULL, to, base, key, FI_UINT64, FI_SUM, &a));
    fab_wait(&fab, &a);
    CHECK(was == round);
    uint64_t compare = round;
    POST(&fab, fi_compare_atomic(fab.ep, &next, 1, NULL, &compare, NULL, &was, NULL, to, base + 8, key, FI_UINT64, FI_CSWAP, &a));
    fab_wait(&fab, &a);
    CHECK(was == round);
}

static void peer(void)
{
    fab_open(&fab, FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY, 0, FI_WAIT_NONE);
    OK(fi_enable(fab.ep));
    struct told told;
    hear("told", &told, sizeof told);
    fi_addr_t to = of_name(told.name);
    static unsigned char out[WINDOW], in[WINDOW];
    many_writes(to, told.good.base, told.good.key, out);
    say("begun", "", 0);
    /* Some more when the other one has begun all that it may. */
    unsigned round = 0;
    for (int left = 20; left > 0; round++) {
        left -= is_said("full");
        everything(to, told.good.base, told.good.key, out, in, round);
    }
    say("done", &round, sizeof round);
    fab_close(&fab);
}

/* What is asked of one who answers wrongly, and how it is to end. The other side has the same list. */
static void origin(void)
{
    fab_open(&fab, FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY, 0, FI_WAIT_NONE);
    OK(fi_enable(fab.ep));
    char name[16];
    hear("liar", name, sizeof name);
    fi_addr_t to = of_name(name);
    unsigned char *in = fenced(9);
    uint64_t one = 1, was = 0;
    int a;
    /* Fewer bytes than were asked for, none, and more. */
    POST(&fab, fi_read(fab.ep, in, 64, NULL, to, 0, 1, &a));
    fab_fails(&fab, &a, FI_EIO);
    POST(&fab, fi_read(fab.ep, in, 64, NULL, to, 0, 1, &a));
    fab_fails(&fab, &a, FI_EIO);
    POST(&fab, fi_read(fab.ep, in, 64, NULL, to, 0, 1, &a));
    fab_fails(&fab, &a, 0);
    POST(&fab, fi_read(fab.ep, in, WINDOW, NULL, to, 0, 1, &a));
    fab_fails(&fab, &a, FI_EIO);
    POST(&fab, fi_fetch_atomic(fab.ep, &one, 1, NULL, &was, NULL, to, 0, 1, FI_UINT64, FI_SUM, &a));
    fab_fails(&fab, &a, FI_EIO);
    /* Bytes where none were asked for. */
    POST(&fab, fi_write(fab.ep, in, 8, NULL, to, 0, 1, &a));
    fab_fails(&fab, &a, 0);
    /* Errors that there are not, and one that comes with bytes. */
    POST(&fab, fi_write(fab.ep, in, 8, NULL, to, 0, 1, &a));
    fab_fails(&fab, &a, FI_EOPNOTSUPP);
    POST(&fab, fi_read(fab.ep, in, 64, NULL, to, 0, 1, &a));
    fab_fails(&fab, &a, FI_EACCES);
    /* The answer twice, behind some to nothing: the first counts. */
    POST(&fab, fi_read(fab.ep, in, 64, NULL, to, 0, 1, &a));
    fab_wait(&fab, &a);
    CHECK(filled(in, 64, 5));
    /* What is announced and not taken. */
    POST(&fab, fi_write(fab.ep, in, WINDOW, NULL, to, 0, 1, &a));
    fab_fails(&fab, &a, FI_EACCES);
    /* And one who answers as it should be done. */
    POST(&fab, fi_read(fab.ep, in, WINDOW, NULL, to, 0, 1, &a));
    fab_wait(&fab, &a);
    CHECK(filled(in, WINDOW, 6));
    check_fences(in, 9);
    fab_close(&fab);
}

int main(int count, char **words)
{
    CHECK(count == 3);
    folder = words[1];
    if (!strcmp(words[2], "target"))
        target();
    else if (!strcmp(words[2], "peer"))
        peer();
    else
        origin();
    puts("all as it should be");
    return 0;
}
