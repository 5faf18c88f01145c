/* What one process can do: every kind of object, opened and closed in every order; every answer to a wrong call; messages to itself. */

#include "fab.h"

static void asks(void)
{
    struct fi_info *info, *hints;

    /* Nothing is asked for: everything is given. */
    OK(fi_getinfo(FI_VERSION(1, 17), NULL, NULL, 0, NULL, &info));
    int found = 0;
    for (struct fi_info *each = info; each; each = each->next)
        found += !strcmp(each->fabric_attr->prov_name, "myrixen");
    CHECK(found == 1);
    fi_freeinfo(info);

    hints = fab_hints(0);
    hints->domain_attr->threading = FI_THREAD_DOMAIN;
    hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
    hints->tx_attr->inject_size = 64;
    hints->caps = FI_TAGGED;
    OK(fi_getinfo(FI_VERSION(1, 9), NULL, "9228", FI_SOURCE, hints, &info));
    CHECK(!info->next);
    CHECK(info->domain_attr->threading == FI_THREAD_DOMAIN);
    CHECK(info->domain_attr->data_progress == FI_PROGRESS_MANUAL);
    CHECK(info->tx_attr->inject_size == 64);
    CHECK((info->caps & (FI_TAGGED | FI_SEND | FI_RECV)) == (FI_TAGGED | FI_SEND | FI_RECV));
    CHECK(!(info->caps & (FI_MSG | FI_RMA)));
    CHECK(info->ep_attr->max_msg_size >= 0xffffffff && info->domain_attr->cq_data_size == 8);
    CHECK(info->domain_attr->name && info->fabric_attr->name);
    char text[20000];
    CHECK(fi_tostr_r(text, sizeof text, info, FI_TYPE_INFO));
    fi_freeinfo(info);
    fi_freeinfo(hints);

#define REFUSED(set) \
    do { \
        hints = fab_hints(0); \
        set; \
        FAILS(fi_getinfo(FI_VERSION(1, 9), NULL, NULL, 0, hints, &info), FI_ENODATA); \
        fi_freeinfo(hints); \
    } while (0)
    REFUSED(hints->ep_attr->type = FI_EP_MSG);
    REFUSED(hints->ep_attr->type = FI_EP_DGRAM);
    REFUSED(hints->caps |= FI_COLLECTIVE);
    REFUSED(hints->addr_format = FI_SOCKADDR_IN);
    REFUSED(hints->ep_attr->max_msg_size = SIZE_MAX);
    REFUSED(hints->ep_attr->tx_ctx_cnt = 2);
    REFUSED(hints->ep_attr->protocol = FI_PROTO_RXM);
    REFUSED(hints->tx_attr->inject_size = 1 << 20);
    REFUSED(hints->tx_attr->comp_order = FI_ORDER_STRICT);
    REFUSED(hints->rx_attr->iov_limit = 1000);
    REFUSED(hints->domain_attr->cq_data_size = 9);
    REFUSED(hints->domain_attr->mr_mode = FI_MR_BASIC | FI_MR_SCALABLE);
    REFUSED(hints->domain_attr->name = strdup("nowhere"));
    REFUSED(hints->fabric_attr->name = strdup("nowhere"));

    /* Nobody of that name. */
    hints = fab_hints(0);
    FAILS(fi_getinfo(FI_VERSION(1, 9), "no.such.board", "1", 0, hints, &info), FI_ENODATA);
    /* Modes that one may ask for. */
    int modes[] = { FI_MR_BASIC, FI_MR_SCALABLE, FI_MR_VIRT_ADDR | FI_MR_PROV_KEY | FI_MR_ALLOCATED,
                    FI_MR_LOCAL | FI_MR_VIRT_ADDR };
    int given[] = { FI_MR_BASIC, FI_MR_SCALABLE, FI_MR_VIRT_ADDR | FI_MR_PROV_KEY | FI_MR_ALLOCATED,
                    FI_MR_VIRT_ADDR };
    for (int at = 0; at < 4; at++) {
        hints->domain_attr->mr_mode = modes[at];
        OK(fi_getinfo(FI_VERSION(1, 9), NULL, NULL, 0, hints, &info));
        CHECK(info->domain_attr->mr_mode == given[at]);
        fi_freeinfo(info);
    }
    /* A program that was written for an early interface. */
    hints->domain_attr->mr_mode = FI_MR_UNSPEC;
    OK(fi_getinfo(FI_VERSION(1, 4), NULL, NULL, 0, hints, &info));
    CHECK(info->domain_attr->mr_mode == FI_MR_SCALABLE);
    fi_freeinfo(info);
    fi_freeinfo(hints);
}

static void refuses(void)
{
    struct fab fab;
    fab_open(&fab, 0, 0, FI_WAIT_NONE);
    /* Before it is enabled. */
    char byte = 0;
    FAILS(fi_send(fab.ep, &byte, 1, NULL, 0, NULL), FI_EOPBADSTATE);
    FAILS(fi_recv(fab.ep, &byte, 1, NULL, 0, NULL), FI_EOPBADSTATE);
    /* What is bound already, or cannot be. */
    FAILS(fi_ep_bind(fab.ep, &fab.av->fid, 0), FI_EINVAL);
    FAILS(fi_ep_bind(fab.ep, &fab.cq->fid, FI_RECV), FI_EINVAL);
    FAILS(fi_ep_bind(fab.ep, &fab.domain->fid, 0), FI_EINVAL);
    OK(fi_enable(fab.ep));
    /* Closing what others need. */
    FAILS(fi_close(&fab.fabric->fid), FI_EBUSY);
    FAILS(fi_close(&fab.domain->fid), FI_EBUSY);
    FAILS(fi_close(&fab.cq->fid), FI_EBUSY);
    FAILS(fi_close(&fab.av->fid), FI_EBUSY);
    /* Nobody there. */
    FAILS(fi_send(fab.ep, &byte, 1, NULL, 7, NULL), FI_EADDRNOTAVAIL);
    FAILS(fi_inject(fab.ep, &byte, 1 << 20, 0), FI_EMSGSIZE);
    FAILS(fi_send(fab.ep, NULL, 1, NULL, 0, NULL), FI_EINVAL);
    FAILS(fi_cancel(&fab.ep->fid, &byte), FI_ENOENT);
    /* What is not supported says so. */
    struct fid_ep *other;
    struct fid_stx *stx;
    FAILS(fi_scalable_ep(fab.domain, fab.info, &other, NULL), FI_ENOSYS);
    FAILS(fi_stx_context(fab.domain, NULL, &stx, NULL), FI_ENOSYS);
    FAILS(fi_connect(fab.ep, &byte, NULL, 0), FI_ENOSYS);
    FAILS(fi_barrier(fab.ep, 0, NULL), FI_ENOSYS);
    size_t count;
    FAILS(fi_atomicvalid(fab.ep, FI_LONG_DOUBLE, FI_SUM, &count), FI_EOPNOTSUPP);
    OK(fi_fetch_atomicvalid(fab.ep, FI_UINT64, FI_ATOMIC_READ, &count));
    CHECK(count >= 64);
    /* Names. */
    char name[64];
    size_t len = 4;
    FAILS(fi_getname(&fab.ep->fid, name, &len), FI_ETOOSMALL);
    CHECK(len > 4 && len <= 64);
    OK(fi_getname(&fab.ep->fid, name, &len));
    fi_addr_t places[2];
    CHECK(fi_av_insert(fab.av, name, 1, &places[0], 0, NULL) == 1 && places[0] == 0);
    CHECK(fi_av_insert(fab.av, name, 1, &places[1], 0, NULL) == 1 && places[1] == 1);
    char same[64];
    size_t room = sizeof same;
    OK(fi_av_lookup(fab.av, 1, same, &room));
    CHECK(room == len && !memcmp(same, name, len));
    char text[100];
    room = sizeof text;
    CHECK(fi_av_straddr(fab.av, name, text, &room) == text);
    CHECK(strchr(text, ':') && strchr(text, '/') && room == strlen(text) + 1);
    OK(fi_av_remove(fab.av, &places[0], 1, 0));
    FAILS(fi_av_remove(fab.av, &places[0], 1, 0), FI_EINVAL);
    FAILS(fi_av_lookup(fab.av, 0, same, &room), FI_EINVAL);
    memset(name, 0xff, sizeof name);
    CHECK(fi_av_insert(fab.av, name, 1, &places[0], 0, NULL) == 0 && places[0] == FI_ADDR_NOTAVAIL);
    fab_close(&fab);
}

static void lacks(void)
{
    struct fab fab;
    fab_open(&fab, 0, 0, FI_WAIT_NONE);
    struct fid_ep *ep;
    OK(fi_endpoint(fab.domain, fab.info, &ep, NULL));
    FAILS(fi_enable(ep), FI_ENOAV);
    OK(fi_ep_bind(ep, &fab.av->fid, 0));
    FAILS(fi_enable(ep), FI_ENOCQ);
    OK(fi_ep_bind(ep, &fab.cq->fid, FI_TRANSMIT));
    FAILS(fi_enable(ep), FI_ENOCQ);
    OK(fi_ep_bind(ep, &fab.cq->fid, FI_RECV));
    OK(fi_enable(ep));
    OK(fi_close(&ep->fid));
    fab_close(&fab);
}

/* Messages to itself, by one endpoint. */
static void alone(enum fi_wait_obj wait)
{
    struct fab fab;
    fab_open(&fab, FI_MR_BASIC, 0, wait);
    OK(fi_enable(fab.ep));
    char name[64];
    size_t len = sizeof name;
    OK(fi_getname(&fab.ep->fid, name, &len));
    fi_addr_t self;
    CHECK(fi_av_insert(fab.av, name, 1, &self, 0, NULL) == 1);
    static unsigned char out[100000], in[100000];
    size_t sizes[] = { 0, 8, 100, 1000, 30000, 100000 };
    int a, b;
    for (unsigned at = 0; at < 6; at++) {
        fill(out, sizes[at], at);
        memset(in, 0, sizeof in);
        POST(&fab, fi_trecv(fab.ep, in, sizeof in, NULL, self, at, 0, &a));
        POST(&fab, fi_tsenddata(fab.ep, out, sizes[at], NULL, at * 1000ul, self, at, &b));
        struct fi_cq_tagged_entry got = fab_wait(&fab, &a);
        CHECK(got.len == sizes[at] && got.data == at * 1000ul && got.tag == at);
        CHECK(got.flags == (FI_RECV | FI_TAGGED | FI_REMOTE_CQ_DATA));
        CHECK(filled(in, sizes[at], at));
        CHECK(fab_wait(&fab, &b).flags == (FI_SEND | FI_TAGGED));
    }
    /* And memory of its own. */
    struct fid_mr *mr;
    OK(fi_mr_reg(fab.domain, in, sizeof in, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 0, 0, &mr, NULL));
    fill(out, sizeof out, 77);
    POST(&fab, fi_write(fab.ep, out, sizeof out, NULL, self, (uint64_t)(uintptr_t)in, fi_mr_key(mr), &a));
    fab_wait(&fab, &a);
    CHECK(filled(in, sizeof in, 77));
    OK(fi_close(&mr->fid));
    fab_close(&fab);
}

static void queues(void)
{
    struct fab fab;
    fab_open(&fab, 0, 0, FI_WAIT_NONE);
    struct fi_eq_attr attr = { .wait_obj = FI_WAIT_FD, .flags = FI_WRITE };
    struct fid_eq *eq;
    OK(fi_eq_open(fab.fabric, &attr, &eq, NULL));
    struct fi_eq_entry entry = { .data = 5 }, seen;
    uint32_t event = 0;
    FAILS(fi_eq_read(eq, &event, &seen, sizeof seen, 0), FI_EAGAIN);
    FAILS(fi_eq_sread(eq, &event, &seen, sizeof seen, 1, 0), FI_EAGAIN);
    int fd;
    OK(fi_control(&eq->fid, FI_GETWAIT, &fd));
    struct pollfd pollfd = { .fd = fd, .events = POLLIN };
    CHECK(poll(&pollfd, 1, 0) == 0);
    CHECK(fi_eq_write(eq, FI_NOTIFY, &entry, sizeof entry, 0) == (ssize_t)sizeof entry);
    CHECK(poll(&pollfd, 1, 1000) == 1);
    FAILS(fi_eq_read(eq, &event, &seen, 1, 0), FI_ETOOSMALL);
    CHECK(fi_eq_read(eq, &event, &seen, sizeof seen, FI_PEEK) == (ssize_t)sizeof seen);
    CHECK(fi_eq_sread(eq, &event, &seen, sizeof seen, -1, 0) == (ssize_t)sizeof seen);
    CHECK(event == FI_NOTIFY && seen.data == 5);
    CHECK(poll(&pollfd, 1, 0) == 0);
    /* Insertions are reported there. */
    struct fi_av_attr av_attr = { .type = FI_AV_MAP };
    struct fid_av *av;
    OK(fi_av_open(fab.domain, &av_attr, &av, NULL));
    OK(fi_av_bind(av, &eq->fid, 0));
    char name[64];
    size_t len = sizeof name;
    OK(fi_getname(&fab.ep->fid, name, &len));
    fi_addr_t place;
    OK(fi_av_insert(av, name, 1, &place, 0, &fab));
    CHECK(fi_eq_read(eq, &event, &seen, sizeof seen, 0) == (ssize_t)sizeof seen);
    CHECK(event == FI_AV_COMPLETE && seen.fid == &av->fid && seen.context == &fab && seen.data == 1);
    OK(fi_close(&av->fid));
    OK(fi_close(&eq->fid));

    struct fid_cntr *cntr;
    OK(fi_cntr_open(fab.domain, NULL, &cntr, NULL));
    OK(fi_cntr_set(cntr, 3));
    OK(fi_cntr_add(cntr, 4));
    OK(fi_cntr_adderr(cntr, 1));
    CHECK(fi_cntr_read(cntr) == 7 && fi_cntr_readerr(cntr) == 1);
    OK(fi_cntr_wait(cntr, 7, 0));
    FAILS(fi_cntr_wait(cntr, 8, 1), FI_ETIMEDOUT);
    struct fi_poll_attr poll_attr = { 0 };
    struct fid_poll *set;
    OK(fi_poll_open(fab.domain, &poll_attr, &set));
    OK(fi_poll_add(set, &cntr->fid, 0));
    OK(fi_poll_add(set, &fab.cq->fid, 0));
    void *contexts[2];
    CHECK(fi_poll(set, contexts, 2) == 1);
    CHECK(fi_poll(set, contexts, 2) == 0);
    OK(fi_poll_del(set, &cntr->fid, 0));
    FAILS(fi_poll_del(set, &cntr->fid, 0), FI_EINVAL);
    OK(fi_close(&set->fid));
    OK(fi_close(&cntr->fid));
    fab_close(&fab);
}

int main(void)
{
    asks();
    refuses();
    lacks();
    alone(FI_WAIT_NONE);
    alone(FI_WAIT_UNSPEC);
    queues();
    puts("all as it should be");
    return 0;
}
