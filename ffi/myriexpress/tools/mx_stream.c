/*
 * mx_stream - bandwidth in one direction, by size.
 *
 * Without -d it receives; with -d HOST it sends to the one that receives there. Several messages are under way at once;
 * a length has been measured when the receiver says that it has them all.
 */
#define TOOL "mx_stream"
#define USAGE \
  "usage: mx_stream [-b BOARD] [-e LOCAL] [-f KEY] [-w]           receives\n" \
  "       mx_stream -d HOST [-r REMOTE] [-l LENGTH | -S FIRST -E LAST] [-M FACTOR | -I STEP]\n" \
  "                 [-N MESSAGES] [-W MESSAGES] [-P AT-ONCE] [-b BOARD] [-e LOCAL] [-f KEY] [-w] [-V]   sends\n"
#include "mx_tool.h"

/* Match information: orders and answers; messages; reports. */
enum { ORDER = 0, DATA = 1, REPORT = 2 };
/* The most messages under way at once that a receiver accepts. */
enum { MOST_AT_ONCE = 4096 };

struct options {
  struct ends ends;
  struct lengths lengths;
  uint32_t count, warmup, at_once;
  int verify;
};

/* What comes next; a count of 0 ends it. */
struct order {
  uint32_t length, count, at_once, verify;
};

/* A message's memory and its request. */
struct slot {
  unsigned char *at;
  mx_request_t request;
};

static struct options options = {
    .ends = {.board = MX_ANY_NIC, .key = TOOL_KEY},
    .lengths = {1, 1 << 20, 0, 2.0},
    .count = 1000,
    .warmup = 10,
    .at_once = 16};
static mx_endpoint_t ep;

static void read_options(int argc, char **argv) {
  int option;
  while ((option = getopt(argc, argv, "b:d:e:f:l:r:S:E:I:M:N:P:W:wVh")) != -1) {
    if (read_ends(&options.ends, option, optarg) || read_lengths(&options.lengths, option, optarg)) continue;
    switch (option) {
      case 'l': options.lengths.first = options.lengths.last = number(option, optarg); break;
      case 'N': options.count = number(option, optarg); break;
      case 'P': options.at_once = number(option, optarg); break;
      case 'W': options.warmup = number(option, optarg); break;
      case 'V': options.verify = 1; break;
      default: usage();
    }
  }
  if (optind != argc) wrong("there are options only");
  if (options.count == 0) wrong("-N: at least one message");
  if (options.count > 0xffffffffU - options.warmup) wrong("-N and -W: too many messages");
  if (options.at_once == 0 || options.at_once > MOST_AT_ONCE) wrong("-P: from 1 to 4096 messages");
}

static void put(mx_endpoint_addr_t to, uint64_t info, void *at, uint32_t length) {
  mx_request_t request = post_send(ep, to, info, at, length);
  finish(ep, &request, options.ends.blocking);
}

static mx_status_t get(uint64_t info, void *at, uint32_t length) {
  mx_request_t request = post_receive(ep, info, at, length);
  mx_status_t status = finish(ep, &request, options.ends.blocking);
  if (status.xfer_length != length) fail("the partner is no mx_stream");
  return status;
}

static struct slot *slots_of(uint32_t count, uint32_t length) {
  struct slot *slots = calloc(count, sizeof *slots);
  uint32_t i;
  if (slots == NULL) fail("no memory");
  for (i = 0; i < count; i++) slots[i].at = room(length);
  return slots;
}

static void drop_slots(struct slot *slots, uint32_t count) {
  uint32_t i;
  for (i = 0; i < count; i++) free(slots[i].at);
  free(slots);
}

/* Receives what an order says; gives how many messages were not as they should be. */
static uint32_t receive(mx_endpoint_addr_t from, struct order *order) {
  uint32_t at_once = order->count < order->at_once ? order->count : order->at_once, bad = 0, i;
  struct slot *slots = slots_of(at_once, order->length);
  for (i = 0; i < at_once; i++) slots[i].request = post_receive(ep, DATA, slots[i].at, order->length);
  put(from, ORDER, order, sizeof *order);
  for (i = 0; i < order->count; i++) {
    struct slot *slot = &slots[i % at_once];
    mx_status_t status = end_of(ep, &slot->request, options.ends.blocking);
    int good = status.code == MX_STATUS_SUCCESS && status.xfer_length == order->length;
    if (good && order->verify) good = first_wrong(slot->at, order->length, i) == order->length;
    bad += !good;
    if (order->count - i > at_once) slot->request = post_receive(ep, DATA, slot->at, order->length);
  }
  drop_slots(slots, at_once);
  return bad;
}

/* Receives until an order is for nothing; gives how many messages were bad. */
static uint32_t serve(void) {
  struct order order;
  uint32_t all = 0;
  for (;;) {
    mx_status_t status = get(ORDER, &order, sizeof order);
    uint32_t bad;
    if (order.count == 0) return all;
    if (order.at_once == 0 || order.at_once > MOST_AT_ONCE) fail("the partner is no mx_stream");
    talk_to(status.source, options.ends.key);
    bad = receive(status.source, &order);
    put(status.source, REPORT, &bad, sizeof bad);
    all = bad > 0xffffffffU - all ? 0xffffffffU : all + bad;
  }
}

/* Sends the messages of one order; gives when those that count were begun. */
static double send_all(mx_endpoint_addr_t to, const struct order *order) {
  uint32_t at_once = order->count < order->at_once ? order->count : order->at_once, i;
  struct slot *slots = slots_of(at_once, order->length);
  double began = 0;
  for (i = 0; i < order->count; i++) {
    struct slot *slot = &slots[i % at_once];
    if (i >= at_once) finish(ep, &slot->request, options.ends.blocking);
    if (i == options.warmup) began = seconds();
    if (options.verify) fill(slot->at, order->length, i);
    slot->request = post_send(ep, to, DATA, slot->at, order->length);
  }
  for (i = 0; i < at_once; i++) finish(ep, &slots[i].request, options.ends.blocking);
  drop_slots(slots, at_once);
  return began;
}

/* One length; gives how many messages arrived bad. */
static uint32_t measure(mx_endpoint_addr_t to, uint32_t length) {
  struct order order, ready;
  double began, each;
  uint32_t bad;
  order.length = length;
  order.count = options.count + options.warmup;
  order.at_once = options.at_once;
  order.verify = (uint32_t)options.verify;
  put(to, ORDER, &order, sizeof order);
  /* It comes back when the receives are posted. */
  get(ORDER, &ready, sizeof ready);
  began = send_all(to, &order);
  get(REPORT, &bad, sizeof bad);
  each = (seconds() - began) / options.count;
  printf("%10u %15.3f %14.0f\n", length, each > 0 ? length / each / 1e6 : 0, each > 0 ? 1 / each : 0);
  fflush(stdout);
  return bad;
}

/* Sends all lengths; stops where messages arrive bad, and gives how many. */
static uint32_t stream(void) {
  struct order end = {0, 0, 0, 0};
  mx_endpoint_addr_t to = reach(ep, &options.ends);
  uint32_t length = options.lengths.first, bad;
  printf("%10s %15s %14s\n", "Length", "Bandwidth(MB/s)", "Messages/s");
  do {
    bad = measure(to, length);
  } while (bad == 0 && next_length(&options.lengths, &length));
  put(to, ORDER, &end, sizeof end);
  return bad;
}

int main(int argc, char **argv) {
  uint32_t bad;
  read_options(argc, argv);
  mx_init();
  ep = open_own(&options.ends, options.ends.host != NULL);
  bad = options.ends.host != NULL ? stream() : serve();
  mx_close_endpoint(ep);
  mx_finalize();
  if (bad > 0) fprintf(stderr, TOOL ": %u messages arrived that were not as they were sent\n", bad);
  return bad > 0 ? 1 : 0;
}
