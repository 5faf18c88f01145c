/*
 * mx_stream - bandwidth in one direction or both, by size.
 *
 * Without a partner it receives; with -d HOST it sends to the one that receives there. Several messages are under way at once;
 * a length has been measured when the receiver says that it has them all.
 */
#define TOOL "mx_stream"
#define USAGE \
  "usage: mx_stream [-b BOARD | -n NIC] [-e LOCAL] [-f KEY] [-w] [-v]           receives\n" \
  "       mx_stream -d HOST [-r REMOTE] [-x] [-l LENGTH | -S FIRST -E LAST] [-M FACTOR | -I STEP] [-N MESSAGES]\n" \
  "                 [-W MESSAGES] [-P AT-ONCE] [-b BOARD | -n NIC] [-e LOCAL] [-f KEY] [-w] [-V] [-v]   sends\n"
#include "mx_tool.h"

/* Match information: orders and answers; messages; reports; messages the other way. */
enum { ORDER = 0, DATA = 1, REPORT = 2, BACK = 3 };
/* The most messages under way at once that a receiver accepts. */
enum { MOST_AT_ONCE = 4096 };

struct options {
  struct ends ends;
  struct lengths lengths;
  uint32_t count, warmup, at_once;
  int verify, both, verbose;
};

/* What the two are to do beside: verify what they receive; send both ways. */
enum { VERIFY = 1, BOTH = 2 };

/* What comes next; a count of 0 ends it. */
struct order {
  uint32_t length, count, at_once, how;
};

/* A message's memory and its request. */
struct slot {
  unsigned char *at;
  mx_request_t request;
};

static struct options options = {
    .ends = TOOL_ENDS,
    .lengths = {1, 1 << 20, 0, 2.0, 0},
    .count = 1000,
    .warmup = 10,
    .at_once = 16};
static mx_endpoint_t ep;

static void read_options(int argc, char **argv) {
  int option;
  while ((option = getopt(argc, argv, "b:d:e:f:l:n:r:S:E:I:M:N:P:W:wvxVh")) != -1) {
    if (read_ends(&options.ends, option, optarg) || read_lengths(&options.lengths, option, optarg)) continue;
    switch (option) {
      case 'l': options.lengths.first = options.lengths.last = number(option, optarg); break;
      case 'N': options.count = number(option, optarg); break;
      case 'P': options.at_once = number(option, optarg); break;
      case 'W': options.warmup = number(option, optarg); break;
      case 'n': read_own_nic(&options.ends, optarg); break;
      case 'v': options.verbose = 1; break;
      case 'V': options.verify = 1; break;
      case 'x': options.both = 1; break;
      default: usage();
    }
  }
  if (optind != argc) wrong("there are options only");
  if (options.both && !begins(&options.ends)) wrong("-x: it is for the one that is told whom to send to");
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

/* The messages of one direction, of which so many are under way at once. */
struct lane {
  struct order order;
  uint32_t at_once;
  struct slot *slots;
};

static struct lane lane_of(const struct order *order) {
  struct lane lane;
  lane.order = *order;
  lane.at_once = order->count < order->at_once ? order->count : order->at_once;
  lane.slots = slots_of(lane.at_once, order->length);
  return lane;
}

static void post_receives(struct lane *lane, uint64_t info) {
  uint32_t i;
  for (i = 0; i < lane->at_once; i++) lane->slots[i].request = post_receive(ep, info, lane->slots[i].at, lane->order.length);
}

/* The end of message `i`, after which another is waited for in its place; whether it was as it should be. */
static int take(struct lane *lane, uint64_t info, uint32_t i) {
  struct slot *slot = &lane->slots[i % lane->at_once];
  mx_status_t status = end_of(ep, &slot->request, options.ends.blocking);
  int good = status.code == MX_STATUS_SUCCESS && status.xfer_length == lane->order.length;
  if (good && lane->order.how & VERIFY) good = first_wrong(slot->at, lane->order.length, i) == lane->order.length;
  if (lane->order.count - i > lane->at_once) slot->request = post_receive(ep, info, slot->at, lane->order.length);
  return good;
}

/* Sends message `i`, once the one before in its place is gone. */
static void give(struct lane *lane, mx_endpoint_addr_t to, uint64_t info, uint32_t i) {
  struct slot *slot = &lane->slots[i % lane->at_once];
  if (i >= lane->at_once) finish(ep, &slot->request, options.ends.blocking);
  if (lane->order.how & VERIFY) fill(slot->at, lane->order.length, i);
  slot->request = post_send(ep, to, info, slot->at, lane->order.length);
}

static void finish_sends(struct lane *lane) {
  uint32_t i;
  for (i = 0; i < lane->at_once; i++) finish(ep, &lane->slots[i].request, options.ends.blocking);
}

/* Receives what an order says, and sends as much; gives how many messages were not as they should be. */
static uint32_t receive(mx_endpoint_addr_t from, struct order *order) {
  struct lane in = lane_of(order), out = {{0, 0, 0, 0}, 0, NULL};
  uint32_t bad = 0, i;
  int both = (order->how & BOTH) != 0;
  if (both) out = lane_of(order);
  post_receives(&in, DATA);
  put(from, ORDER, order, sizeof *order);
  for (i = 0; i < order->count; i++) {
    if (both) give(&out, from, BACK, i);
    bad += !take(&in, DATA, i);
  }
  finish_sends(&out);
  drop_slots(in.slots, in.at_once);
  drop_slots(out.slots, out.at_once);
  return bad;
}

/* -v: whom it is, and what it is about to do. */
static void say_what(const char *what, const char *to) {
  mx_endpoint_addr_t own;
  uint64_t nic;
  uint32_t id;
  char name[MX_MAX_HOSTNAME_LEN];
  mx_get_endpoint_addr(ep, &own);
  mx_decompose_endpoint_addr(own, &nic, &id);
  mx_nic_id_to_hostname(nic, name);
  printf("%s, endpoint %u: %s%s\n", name, id, what, to);
  fflush(stdout);
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

/* What has become of the messages of one order: when those that count were begun, and how many came here bad. */
struct outcome {
  double began;
  uint32_t bad;
};

/* Sends the messages of one order, and takes what comes the other way into `in`. */
static struct outcome send_all(mx_endpoint_addr_t to, const struct order *order, struct lane *in) {
  struct lane out = lane_of(order);
  struct outcome outcome = {0, 0};
  uint32_t i, taken = 0;
  for (i = 0; i < order->count; i++) {
    /* Of both ways as many are under way. */
    if (i >= out.at_once && in->at_once > 0) outcome.bad += !take(in, BACK, taken++);
    if (i == options.warmup) outcome.began = seconds();
    give(&out, to, DATA, i);
  }
  finish_sends(&out);
  while (taken < in->order.count) outcome.bad += !take(in, BACK, taken++);
  drop_slots(out.slots, out.at_once);
  return outcome;
}

/* One length; gives how many messages arrived bad. */
static uint32_t measure(mx_endpoint_addr_t to, uint32_t length) {
  struct order order, ready;
  struct lane in = {{0, 0, 0, 0}, 0, NULL};
  struct outcome outcome;
  double each;
  uint32_t bad;
  order.length = length;
  order.count = options.count + options.warmup;
  order.at_once = options.at_once;
  order.how = (options.verify ? VERIFY : 0) | (options.both ? BOTH : 0);
  if (options.both) {
    in = lane_of(&order);
    post_receives(&in, BACK);
  }
  put(to, ORDER, &order, sizeof order);
  /* It comes back when the receives are posted. */
  get(ORDER, &ready, sizeof ready);
  outcome = send_all(to, &order, &in);
  get(REPORT, &bad, sizeof bad);
  each = (seconds() - outcome.began) / options.count / (options.both ? 2 : 1);
  printf("%10u %15.3f %14.0f\n", length, each > 0 ? length / each / 1e6 : 0, each > 0 ? 1 / each : 0);
  fflush(stdout);
  drop_slots(in.slots, in.at_once);
  return bad > 0xffffffffU - outcome.bad ? 0xffffffffU : bad + outcome.bad;
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
  ep = open_own(&options.ends, begins(&options.ends));
  if (options.verbose && begins(&options.ends)) say_what("sends to ", options.ends.host);
  if (options.verbose && !begins(&options.ends)) say_what("receives", "");
  bad = begins(&options.ends) ? stream() : serve();
  mx_close_endpoint(ep);
  mx_finalize();
  if (bad > 0) fprintf(stderr, TOOL ": %u messages arrived that were not as they were sent\n", bad);
  return bad > 0 ? 1 : 0;
}
