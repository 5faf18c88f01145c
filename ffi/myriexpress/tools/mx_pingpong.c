/*
 * mx_pingpong - half of the time from a message to its answer, by size.
 *
 * Without a partner it answers; with -d HOST it asks the one that answers there.
 */
#define TOOL "mx_pingpong"
#define USAGE \
  "usage: mx_pingpong [-s] [-b BOARD | -n NIC] [-e LOCAL] [-f KEY] [-w] [-V]           answers\n" \
  "       mx_pingpong -d HOST [-r REMOTE] [-S FIRST] [-E LAST] [-M FACTOR | -I STEP | -L FILE] [-N ROUNDS]\n" \
  "                   [-W ROUNDS] [-m] [-b BOARD | -n NIC] [-e LOCAL] [-f KEY] [-w] [-V]   asks\n"
#include <errno.h>

#include "mx_tool.h"

enum { QUESTION = 1, ANSWER = 2 };

/* What the command line says. */
struct options {
  struct ends ends;
  struct lengths lengths;
  uint32_t count, warmup;
  const char *file; /* with lengths, one a line */
  int verify, median, keeps_on;
};

/* What is measured next; a count of 0 ends it. */
struct order {
  uint32_t length, count;
};

static struct options options = {
    .ends = TOOL_ENDS, .count = 1000, .warmup = 10, .lengths = {0, 1 << 20, 0, 2.0, 0}};
static mx_endpoint_t ep;

static void read_options(int argc, char **argv) {
  int option;
  while ((option = getopt(argc, argv, "b:d:e:f:n:r:S:E:I:L:M:N:W:mswVh")) != -1) {
    if (read_ends(&options.ends, option, optarg) || read_lengths(&options.lengths, option, optarg)) continue;
    switch (option) {
      case 'N': options.count = number(option, optarg); break;
      case 'W': options.warmup = number(option, optarg); break;
      case 'm': options.median = 1; break;
      case 'n': read_own_nic(&options.ends, optarg); break;
      case 'L': options.file = optarg; break;
      case 's': options.keeps_on = 1; break;
      case 'V': options.verify = 1; break;
      default: usage();
    }
  }
  if (optind != argc) wrong("there are options only");
  if (options.keeps_on && begins(&options.ends)) wrong("-s answers, -d asks: one of them");
  if (options.file != NULL && !begins(&options.ends)) wrong("-L: it is for the one that asks");
  if (options.count == 0) wrong("-N: at least one round");
  if (options.count > 0xffffffffU - options.warmup) wrong("-N and -W: too many rounds");
}

static void put(mx_endpoint_addr_t to, uint64_t info, void *at, uint32_t length) {
  mx_request_t request = post_send(ep, to, info, at, length);
  finish(ep, &request, options.ends.blocking);
}

static mx_status_t get(uint64_t info, void *at, uint32_t length) {
  mx_request_t request = post_receive(ep, info, at, length);
  return finish(ep, &request, options.ends.blocking);
}

/* Sends back what comes from one partner, until an order is for nothing. */
static void answer(void) {
  struct order order;
  for (;;) {
    uint32_t i;
    unsigned char *at;
    mx_status_t status = get(0, &order, sizeof order);
    if (status.xfer_length != sizeof order) fail("the partner is no mx_pingpong");
    if (order.count == 0) return;
    talk_to(status.source, options.ends.key);
    at = room(order.length);
    put(status.source, 0, &order, sizeof order);
    for (i = 0; i < order.count; i++) {
      get(QUESTION, at, order.length);
      put(status.source, ANSWER, at, order.length);
    }
    free(at);
  }
}

static int by_size(const void *one, const void *other) {
  double a = *(const double *)one, b = *(const double *)other;
  return (a > b) - (a < b);
}

/* The middle one of what the rounds took, which those few do not change in which somebody else had the processor. */
static double median_of(double *rounds, uint32_t count) {
  qsort(rounds, count, sizeof *rounds, by_size);
  return rounds[count / 2];
}

/* One size. */
static void measure(mx_endpoint_addr_t to, uint32_t length) {
  struct order order;
  unsigned char *out = room(length), *in = room(length);
  double *rounds = (double *)room(options.median ? options.count * sizeof *rounds : 0);
  double began = 0, last = 0, half;
  uint32_t i;
  order.length = length;
  order.count = options.count + options.warmup;
  put(to, 0, &order, sizeof order);
  get(0, &order, sizeof order);
  for (i = 0; i < order.count; i++) {
    if (i == options.warmup) began = last = seconds();
    if (options.verify) memset(out, (int)(i & 0xff), length);
    put(to, QUESTION, out, length);
    get(ANSWER, in, length);
    if (options.verify && memcmp(out, in, length) != 0) fail("a message came back changed");
    if (options.median && i >= options.warmup) {
      double now = seconds();
      rounds[i - options.warmup] = now - last;
      last = now;
    }
  }
  half = (options.median ? median_of(rounds, options.count) : (seconds() - began) / options.count) / 2;
  printf("%10u %12.3f %14.3f\n", length, half * 1e6, half > 0 ? length / half / 1e6 : 0);
  fflush(stdout);
  free(out);
  free(in);
  free(rounds);
}

/* The next length of a file, which has one a line; 0 after the last. Ends the program where a line is none. */
static int read_length(FILE *file, uint32_t *length) {
  char line[80], *rest;
  unsigned long value;
  do {
    if (fgets(line, sizeof line, file) == NULL) return 0;
  } while (line[strspn(line, " \t\r\n")] == '\0');
  value = strtoul(line, &rest, 10);
  if (rest == line || rest[strspn(rest, " \t\r\n")] != '\0' || strchr(line, '-') != NULL || value > 0xffffffffUL) {
    fprintf(stderr, TOOL ": %s: not a length: %.*s\n", options.file, (int)strcspn(line, "\r\n"), line);
    exit(1);
  }
  *length = (uint32_t)value;
  return 1;
}

static void ask(FILE *file) {
  struct order end = {0, 0};
  mx_endpoint_addr_t to = reach(ep, &options.ends);
  uint32_t length = options.lengths.first;
  int more = file == NULL || read_length(file, &length);
  printf("%10s %12s %14s\n", "Length", "Latency(us)", "Bandwidth(MB/s)");
  while (more) {
    measure(to, length);
    more = file == NULL ? next_length(&options.lengths, &length) : read_length(file, &length);
  }
  put(to, 0, &end, sizeof end);
}

int main(int argc, char **argv) {
  FILE *file = NULL;
  read_options(argc, argv);
  if (options.file != NULL && (file = fopen(options.file, "r")) == NULL) {
    fprintf(stderr, TOOL ": %s: %s\n", options.file, strerror(errno));
    return 1;
  }
  mx_init();
  ep = open_own(&options.ends, begins(&options.ends));
  if (begins(&options.ends)) {
    ask(file);
  } else {
    do {
      answer();
      forget_partner();
    } while (options.keeps_on);
  }
  if (file != NULL) fclose(file);
  mx_close_endpoint(ep);
  mx_finalize();
  return 0;
}
