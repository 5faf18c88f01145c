/* What the test programs share: objects of one endpoint, waits, checks. */
#ifndef FAB_H
#define FAB_H

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <rdma/fabric.h>
#include <rdma/fi_atomic.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_collective.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <rdma/fi_tagged.h>

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            exit(1); \
        } \
    } while (0)

/* A call that returns 0. */
#define OK(call) \
    do { \
        long said = (long)(call); \
        if (said != 0) { \
            fprintf(stderr, "%s:%d: %s: %ld (%s)\n", __FILE__, __LINE__, #call, said, \
                    fi_strerror((int)-said)); \
            exit(1); \
        } \
    } while (0)

/* A call that returns an error. */
#define FAILS(call, error) \
    do { \
        long said = (long)(call); \
        if (said != -(long)(error)) { \
            fprintf(stderr, "%s:%d: %s: %ld instead of %ld\n", __FILE__, __LINE__, #call, said, \
                    -(long)(error)); \
            exit(1); \
        } \
    } while (0)

struct fab {
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_av *av;
    struct fid_cq *cq;
    struct fid_ep *ep;
};

static const uint64_t ALL_CAPS = FI_MSG | FI_TAGGED | FI_RMA | FI_ATOMIC | FI_DIRECTED_RECV | FI_SOURCE
    | FI_MULTI_RECV | FI_LOCAL_COMM | FI_REMOTE_COMM;

static inline struct fi_info *fab_hints(int mr_mode)
{
    struct fi_info *hints = fi_allocinfo();
    CHECK(hints);
    hints->caps = ALL_CAPS;
    hints->ep_attr->type = FI_EP_RDM;
    hints->domain_attr->mr_mode = mr_mode;
    hints->fabric_attr->prov_name = strdup("myrixen");
    return hints;
}

/* Opens all objects; `bind` are flags beside those of the directions. */
static inline void fab_open(struct fab *fab, int mr_mode, uint64_t bind, enum fi_wait_obj wait)
{
    struct fi_info *hints = fab_hints(mr_mode);
    OK(fi_getinfo(FI_VERSION(1, 9), NULL, NULL, 0, hints, &fab->info));
    fi_freeinfo(hints);
    CHECK(!strcmp(fab->info->fabric_attr->prov_name, "myrixen"));
    OK(fi_fabric(fab->info->fabric_attr, &fab->fabric, NULL));
    OK(fi_domain(fab->fabric, fab->info, &fab->domain, NULL));
    struct fi_av_attr av = { .type = FI_AV_TABLE };
    OK(fi_av_open(fab->domain, &av, &fab->av, NULL));
    struct fi_cq_attr cq = { .format = FI_CQ_FORMAT_TAGGED, .wait_obj = wait };
    OK(fi_cq_open(fab->domain, &cq, &fab->cq, NULL));
    OK(fi_endpoint(fab->domain, fab->info, &fab->ep, NULL));
    OK(fi_ep_bind(fab->ep, &fab->av->fid, 0));
    OK(fi_ep_bind(fab->ep, &fab->cq->fid, FI_TRANSMIT | FI_RECV | bind));
}

static inline void fab_close(struct fab *fab)
{
    OK(fi_close(&fab->ep->fid));
    OK(fi_close(&fab->cq->fid));
    OK(fi_close(&fab->av->fid));
    OK(fi_close(&fab->domain->fid));
    OK(fi_close(&fab->fabric->fid));
    fi_freeinfo(fab->info);
}

static inline double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Far longer than anything takes. */
static const double PATIENCE = 60;

/* Asks for an operation until there is an answer, which is put into `said`. */
#define ASK(fab, said, call) \
    do { \
        double until = now() + PATIENCE; \
        while ((said = (long)(call)) == -FI_EAGAIN) { \
            CHECK(now() < until); \
            (void)fi_cq_read((fab)->cq, NULL, 0); \
        } \
    } while (0)

/* Begins an operation, however often it has to be asked for. */
#define POST(fab, call) \
    do { \
        long said; \
        ASK(fab, said, call); \
        if (said != 0) { \
            fprintf(stderr, "%s:%d: %s: %ld (%s)\n", __FILE__, __LINE__, #call, said, \
                    fi_strerror((int)-said)); \
            exit(1); \
        } \
    } while (0)

/* The next completion; an error is one. Gives 0, or the error's number. */
static inline int fab_next(struct fab *fab, struct fi_cq_tagged_entry *entry, struct fi_cq_err_entry *error)
{
    double until = now() + PATIENCE;
    for (;;) {
        ssize_t said = fi_cq_read(fab->cq, entry, 1);
        if (said == 1)
            return 0;
        if (said == -FI_EAVAIL) {
            memset(error, 0, sizeof *error);
            CHECK(fi_cq_readerr(fab->cq, error, 0) == 1);
            CHECK(error->err > 0);
            return error->err;
        }
        CHECK(said == -FI_EAGAIN);
        CHECK(now() < until);
    }
}

/* The completion of the operation with this context, which comes next among those of its kind; others are kept. */
#define KEPT 64
static struct fi_cq_tagged_entry fab_kept[KEPT];
static int fab_count;

static inline struct fi_cq_tagged_entry fab_wait(struct fab *fab, void *context)
{
    for (int at = 0; at < fab_count; at++) {
        if (fab_kept[at].op_context == context) {
            struct fi_cq_tagged_entry found = fab_kept[at];
            fab_kept[at] = fab_kept[--fab_count];
            return found;
        }
    }
    for (;;) {
        struct fi_cq_tagged_entry entry;
        struct fi_cq_err_entry error;
        int failed = fab_next(fab, &entry, &error);
        if (failed) {
            fprintf(stderr, "context %p failed: %s, %s\n", error.op_context, fi_strerror(failed),
                    fi_cq_strerror(fab->cq, error.prov_errno, NULL, NULL, 0));
            exit(1);
        }
        if (entry.op_context == context)
            return entry;
        CHECK(fab_count < KEPT);
        fab_kept[fab_count++] = entry;
    }
}

/* Waits for the failure of the operation with this context. */
static inline struct fi_cq_err_entry fab_fails(struct fab *fab, void *context, int wanted)
{
    for (;;) {
        struct fi_cq_tagged_entry entry;
        struct fi_cq_err_entry error;
        int failed = fab_next(fab, &entry, &error);
        if (!failed) {
            CHECK(fab_count < KEPT);
            fab_kept[fab_count++] = entry;
            continue;
        }
        CHECK(error.op_context == context);
        if (wanted && failed != wanted)
            fprintf(stderr, "%s instead of %s\n", fi_strerror(failed), fi_strerror(wanted));
        CHECK(!wanted || failed == wanted);
        return error;
    }
}

static inline void fill(unsigned char *bytes, size_t len, unsigned seed)
{
    for (size_t at = 0; at < len; at++)
        bytes[at] = (unsigned char)((at * 31 + seed * 7 + at / 251) & 0xff);
}

static inline int filled(const unsigned char *bytes, size_t len, unsigned seed)
{
    for (size_t at = 0; at < len; at++)
        if (bytes[at] != (unsigned char)((at * 31 + seed * 7 + at / 251) & 0xff))
            return 0;
    return 1;
}

#endif
