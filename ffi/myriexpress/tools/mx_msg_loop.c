/*
 * mx_msg_loop - messages that go round, every byte of them checked.
 *
 * It sends to its own endpoint or, with -d HOST, to an mx_msg_loop -L there, which sends everything back.
 */
#define TOOL "mx_msg_loop"
#define USAGE \
  "usage: mx_msg_loop [-d HOST [-r REMOTE]] [-S FIRST] [-E LAST] [-M FACTOR | -I STEP | -R] [-N MESSAGES]\n" \
  "                   [-P AT-ONCE] [-a FIRST] [-A END] [-s] [-u] [-m | -n] [-t TIMEOUT] [-i SECONDS] [-k] [-v]\n" \
  "                   [-b BOARD] [-e LOCAL] [-f KEY] [-w]\n" \
  "       mx_msg_loop -L [-m | -n] [-b BOARD] [-e LOCAL] [-f KEY] [-w]           sends back what comes\n"
#include <stddef.h>

#include "mx_tool.h"

/* Of what comes back from another, this bit of the match information is set. */
static const uint64_t BACK = (uint64_t)1 << 63;
/* Ends the one that sends back. */
static const uint64_t END = ~(uint64_t)0;
/* Bytes before and after a receive's memory that have to stay as they are; what they are. */
enum { GUARD = 64, GUARD_BYTE = 0x5a };
/* What offsets of messages count from. */
enum { PAGE = 4096 };
/* The most messages at once, and the most offsets. */
enum { MOST_AT_ONCE = 4096, MOST_OFFSETS = PAGE };

struct options {
  struct ends ends;
  struct lengths lengths;
  uint32_t count, at_once;
  uint32_t first_offset, end_offset; /* end_offset is one too many; 0: the one after the first */
  uint32_t timeout;                  /* in milliseconds; 0: as long as the partner is there */
  double interval;                   /* seconds between lines that say how far it is; below 0: there are none */
  int random, synchronous, unexpected, network, keep_going, verbose, listen;
};

/* A message on its way. */
struct slot {
  unsigned char *out, *in; /* as allocated */
  mx_request_t send, receive;
  uint32_t length, seed;
};

static struct options options = {
    .ends = TOOL_ENDS,
    .lengths = {0, 100000, 0, 2.0, 0},
    .count = 100,
    .at_once = 1,
    .interval = -1};
static mx_endpoint_t ep;
static uint32_t bad;

static void check_options(void) {
  if (options.count == 0) wrong("-N: at least one message");
  if (options.at_once == 0 || options.at_once > MOST_AT_ONCE) wrong("-P: from 1 to 4096 messages");
  if (options.first_offset >= MOST_OFFSETS) wrong("-a: from 0 to 4095");
  if (options.end_offset == 0) options.end_offset = options.first_offset + 1;
  if (options.end_offset > MOST_OFFSETS) wrong("-A: from 1 to 4096");
  if (options.end_offset <= options.first_offset) wrong("-A: not more than -a");
  if (options.lengths.last < options.lengths.first) wrong("-E: less than -S");
  if (options.listen && options.ends.host != NULL) wrong("-L sends back, -d sends: one of them");
}

static void read_options(int argc, char **argv) {
  int option;
  while ((option = getopt(argc, argv, "a:b:d:e:f:i:r:t:S:E:I:M:N:P:A:RLsumnkvwh")) != -1) {
    if (read_ends(&options.ends, option, optarg) || read_lengths(&options.lengths, option, optarg)) continue;
    switch (option) {
      case 'N': options.count = number(option, optarg); break;
      case 'P': options.at_once = number(option, optarg); break;
      case 'a': options.first_offset = number(option, optarg); break;
      case 'A':
        options.end_offset = number(option, optarg);
        if (options.end_offset == 0) wrong("-A: from 1 to 4096");
        break;
      case 'i': options.interval = number(option, optarg); break;
      case 't':
        options.timeout = number(option, optarg);
        if (options.timeout == 0) wrong("-t: at least one millisecond");
        break;
      case 'R': options.random = 1; break;
      case 'L': options.listen = 1; break;
      case 's': options.synchronous = 1; break;
      case 'u': options.unexpected = 1; break;
      case 'm': options.network = 0; break;
      case 'n': options.network = 1; break;
      case 'k': options.keep_going = 1; break;
      case 'v': options.verbose = 1; break;
      default: usage();
    }
  }
  if (optind != argc) wrong("there are options only");
  check_options();
}

/* What is waited for: a message that nobody has received yet and that matches, or the end of a request. */
struct awaited {
  mx_request_t *request; /* NULL: a message, */
  uint64_t info, mask;   /* with these */
};

/* Waits for it, for `timeout` milliseconds or, where that is 0, as long as the partner is there; whether it has come. */
static int await(const struct awaited *what, uint32_t timeout, mx_status_t *status) {
  const double until = seconds() + timeout / 1e3;
  const uint32_t at_once = options.ends.blocking ? (timeout > 0 ? timeout : TOOL_SILENCE_MS) : 0;
  struct patience patience = {0, 0};
  uint32_t result = 0;
  for (;;) {
    if (what->request != NULL && at_once > 0) {
      mx_wait(ep, what->request, at_once, status, &result);
    } else if (what->request != NULL) {
      mx_test(ep, what->request, status, &result);
    } else if (at_once > 0) {
      mx_probe(ep, at_once, what->info, what->mask, status, &result);
    } else {
      mx_iprobe(ep, what->info, what->mask, status, &result);
    }
    if (result) return 1;
    if (timeout > 0) {
      if (seconds() >= until) return 0;
    } else if (options.ends.blocking || is_over(&patience)) {
      look_after_partner(ep);
    }
  }
}

/* Sends everything back, until it is told to end. */
static void send_back(void) {
  const struct awaited anything = {NULL, 0, 0};
  for (;;) {
    mx_status_t status;
    mx_request_t request;
    unsigned char *at;
    uint32_t length;
    await(&anything, 0, &status);
    talk_to(status.source, options.ends.key);
    length = status.msg_length;
    at = room(length);
    request = post_receive(ep, status.match_info, at, length);
    status = finish(ep, &request, options.ends.blocking);
    if (status.match_info != END) {
      request = post_send(ep, status.source, status.match_info | BACK, at, status.xfer_length);
      finish(ep, &request, options.ends.blocking);
    }
    free(at);
    if (status.match_info == END) return;
  }
}

/* Where a message begins: in the second page of its memory, at one offset after the other. */
static unsigned char *place(unsigned char *memory, uint32_t turn) {
  return memory + PAGE + options.first_offset + turn % (options.end_offset - options.first_offset);
}
static unsigned char *out_of(const struct slot *slot) { return place(slot->out, slot->seed); }
static unsigned char *in_of(const struct slot *slot) { return place(slot->in, slot->seed / 3); }

/* The end of a request or a message that comes round; ends the program when it takes longer than -t allows. */
static mx_status_t have(const struct slot *slot, const struct awaited *what, const char *name) {
  mx_status_t status;
  if (!await(what, options.timeout, &status)) {
    fprintf(stderr, TOOL ": message %u of %u bytes: %s took more than %u ms\n", slot->seed, slot->length, name,
            options.timeout);
    exit(1);
  }
  return status;
}

static void report(const struct slot *slot, const char *what, const char *more) {
  fprintf(stderr, TOOL ": message %u of %u bytes: %s%s\n", slot->seed, slot->length, what, more);
  bad++;
}

/* What has become of a message that has come back. */
static void check(const struct slot *slot, mx_status_t sent, mx_status_t got, uint64_t info) {
  const unsigned char *in = in_of(slot);
  uint32_t i, at;
  if (sent.code != MX_STATUS_SUCCESS) {
    report(slot, "the send failed: ", mx_strstatus(sent.code));
  } else if (got.code != MX_STATUS_SUCCESS) {
    report(slot, "the receive failed: ", mx_strstatus(got.code));
  } else if (got.match_info != info || got.msg_length != slot->length || got.xfer_length != slot->length) {
    report(slot, "another message came", "");
  } else if ((at = first_wrong(in, slot->length, slot->seed)) < slot->length) {
    char text[64];
    snprintf(text, sizeof text, "byte %u is 0x%02x", at, in[at]);
    report(slot, "it came changed: ", text);
  } else if (first_wrong(out_of(slot), slot->length, slot->seed) < slot->length) {
    report(slot, "its memory was changed while it was sent", "");
  } else {
    for (i = 1; i <= GUARD; i++) {
      if (in[-(ptrdiff_t)i] != GUARD_BYTE || in[(size_t)slot->length + i - 1] != GUARD_BYTE) {
        report(slot, "memory beside the receive's was written", "");
        return;
      }
    }
    if (options.verbose) {
      printf("message %u of %u bytes, from %u to %u of a page: good\n", slot->seed, slot->length,
             (unsigned)((uintptr_t)out_of(slot) % PAGE), (unsigned)((uintptr_t)in % PAGE));
    }
  }
}

static void start(struct slot *slot, mx_endpoint_addr_t to, uint64_t info, uint64_t back) {
  mx_segment_t one;
  memset(in_of(slot) - GUARD, GUARD_BYTE, (size_t)slot->length + 2 * GUARD);
  fill(out_of(slot), slot->length, slot->seed);
  if (!options.unexpected) slot->receive = post_receive(ep, back, in_of(slot), slot->length);
  one.segment_ptr = out_of(slot);
  one.segment_length = slot->length;
  if (options.synchronous) {
    mx_issend(ep, &one, 1, to, info, NULL, &slot->send);
  } else {
    mx_isend(ep, &one, 1, to, info, NULL, &slot->send);
  }
}

/* What has become of a message that was sent, once it has come back as `back`. */
static void complete(struct slot *slot, uint64_t back) {
  const struct awaited message = {NULL, back, MX_MATCH_MASK_NONE};
  const struct awaited send = {&slot->send, 0, 0}, receive = {&slot->receive, 0, 0};
  mx_status_t sent, got;
  if (options.unexpected) {
    have(slot, &message, "the message");
    slot->receive = post_receive(ep, back, in_of(slot), slot->length);
  }
  sent = have(slot, &send, "the send");
  got = have(slot, &receive, "the receive");
  check(slot, sent, got, back);
}

/* -i: now and then, how far it is. */
static void show_progress(uint32_t length) {
  static double last;
  static uint64_t messages;
  double now;
  messages++;
  if (options.interval < 0) return;
  now = seconds();
  if (last == 0) last = now;
  if (now - last < options.interval) return;
  last = now;
  fprintf(stderr, TOOL ": at %u bytes, %llu messages, %u bad\n", length, (unsigned long long)messages, bad);
}

/* Numbers that look random, and are the same in each run. */
static uint32_t next_random(void) {
  static uint32_t state = 2463534242U;
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

/* Sends -N messages of up to `length` bytes, -P at once. */
static void round_of(struct slot *slots, mx_endpoint_addr_t to, uint32_t length) {
  static uint32_t seed;
  const uint64_t back = options.ends.host != NULL ? BACK : 0;
  uint32_t done = 0;
  while (done < options.count && (bad == 0 || options.keep_going)) {
    uint32_t now = options.count - done < options.at_once ? options.count - done : options.at_once, i;
    for (i = 0; i < now; i++) {
      slots[i].seed = seed++;
      slots[i].length = length;
      if (options.random) {
        uint64_t lengths = (uint64_t)length - options.lengths.first + 1;
        slots[i].length = options.lengths.first + (uint32_t)(next_random() % lengths);
      }
      start(&slots[i], to, slots[i].seed, slots[i].seed | back);
    }
    for (i = 0; i < now; i++) {
      complete(&slots[i], slots[i].seed | back);
      show_progress(slots[i].length);
    }
    done += now;
  }
  printf("%10u %10u %10u\n", length, done, bad);
  fflush(stdout);
}

/* Memory that begins with a page and has been touched; never NULL. The caller frees it. */
static unsigned char *pages(size_t length) {
  void *at;
  if (posix_memalign(&at, PAGE, length) != 0) fail("no memory");
  memset(at, GUARD_BYTE, length);
  return at;
}

static void loop(void) {
  mx_endpoint_addr_t to =
      options.ends.host != NULL ? reach(ep, &options.ends) : reach_self(ep, options.ends.key);
  struct slot *slots = calloc(options.at_once, sizeof *slots);
  size_t most = (size_t)options.lengths.last + PAGE + options.end_offset + GUARD;
  uint32_t length = options.random ? options.lengths.last : options.lengths.first, i;
  if (slots == NULL) fail("no memory");
  for (i = 0; i < options.at_once; i++) {
    slots[i].out = pages(most);
    slots[i].in = pages(most);
  }
  printf("%10s %10s %10s\n", "Length", "Messages", "Bad");
  do {
    round_of(slots, to, length);
  } while ((bad == 0 || options.keep_going) && next_length(&options.lengths, &length));
  if (options.ends.host != NULL) {
    mx_request_t end = post_send(ep, to, END, NULL, 0);
    finish(ep, &end, options.ends.blocking);
  }
  for (i = 0; i < options.at_once; i++) {
    free(slots[i].out);
    free(slots[i].in);
  }
  free(slots);
}

int main(int argc, char **argv) {
  read_options(argc, argv);
  /* The library reads it when it is initialized. */
  if (options.network) setenv("MX_DISABLE_SHMEM", "1", 1);
  mx_init();
  ep = open_own(&options.ends, !options.listen);
  if (options.listen) {
    send_back();
  } else {
    loop();
  }
  mx_close_endpoint(ep);
  mx_finalize();
  return bad > 0 ? 1 : 0;
}
