/* One byte less than 4 GiB between two processes: as a message, written, and read back. `huge`; takes 9 GiB of memory. */

#include "fab.h"
#include <sys/mman.h>
#include <sys/wait.h>

#define LENGTH 4294967295ul

static struct fab fab;
static unsigned char *memory;

struct lent {
    char name[16];
    uint64_t key, base;
};

/* The words of the pattern of `seed`, and what is left of one. */
static void put(uint64_t seed)
{
    for (uint64_t at = 0; at < LENGTH; at += 8) {
        uint64_t word = (at + seed) * 0x9e3779b97f4a7c15u;
        memcpy(memory + at, &word, LENGTH - at < 8 ? LENGTH - at : 8);
    }
}

static void check(uint64_t seed)
{
    for (uint64_t at = 0; at < LENGTH; at += 8) {
        uint64_t word = (at + seed) * 0x9e3779b97f4a7c15u;
        CHECK(!memcmp(memory + at, &word, LENGTH - at < 8 ? LENGTH - at : 8));
    }
    CHECK(memory[LENGTH] == 0xee);
}

/* Waits for the end of what was begun at `begun`. */
static void ended(const char *what, void *context, double begun)
{
    double until = begun + 4 * PATIENCE;
    for (;;) {
        struct fi_cq_tagged_entry entry;
        ssize_t said = fi_cq_read(fab.cq, &entry, 1);
        if (said == 1) {
            CHECK(entry.op_context == context);
            printf("%s: %.2f s\n", what, now() - begun);
            return;
        }
        CHECK(said == -FI_EAGAIN && now() < until);
    }
}

static void tell(int to)
{
    CHECK(write(to, "", 1) == 1);
}

static void hear(int from)
{
    char byte;
    CHECK(read(from, &byte, 1) == 1);
}

int main(void)
{
    int down[2], up[2], context;
    CHECK(!pipe(down) && !pipe(up));
    pid_t child = fork();
    CHECK(child >= 0);
    int from = child ? up[0] : down[0], to = child ? down[1] : up[1];
    fab_open(&fab, FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY, 0, FI_WAIT_NONE);
    OK(fi_enable(fab.ep));
    memory = mmap(NULL, LENGTH + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    memory[LENGTH] = 0xee;
    struct fid_mr *mr;
    OK(fi_mr_reg(fab.domain, memory, LENGTH, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 0, 0, &mr, NULL));
    struct lent ours = { .key = fi_mr_key(mr), .base = (uintptr_t)memory }, theirs;
    size_t len = sizeof ours.name;
    OK(fi_getname(&fab.ep->fid, ours.name, &len));
    CHECK(write(to, &ours, sizeof ours) == sizeof ours && read(from, &theirs, sizeof theirs) == sizeof theirs);
    fi_addr_t peer;
    CHECK(fi_av_insert(fab.av, theirs.name, 1, &peer, 0, NULL) == 1);
    if (child) {
        put(1);
        hear(from);
        double begun = now();
        POST(&fab, fi_tsend(fab.ep, memory, LENGTH, NULL, peer, 1, &context));
        ended("sent", &context, begun);
        hear(from);
        put(2);
        begun = now();
        POST(&fab, fi_write(fab.ep, memory, LENGTH, NULL, peer, theirs.base, theirs.key, &context));
        ended("written", &context, begun);
        tell(to);
        hear(from);
        memset(memory, 0, LENGTH);
        begun = now();
        POST(&fab, fi_read(fab.ep, memory, LENGTH, NULL, peer, theirs.base, theirs.key, &context));
        ended("read", &context, begun);
        check(2);
        tell(to);
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    } else {
        POST(&fab, fi_trecv(fab.ep, memory, LENGTH, NULL, peer, 1, 0, &context));
        tell(to);
        ended("received", &context, now());
        check(1);
        tell(to);
        hear(from);
        check(2);
        tell(to);
        hear(from);
    }
    OK(fi_close(&mr->fid));
    fab_close(&fab);
    return 0;
}
