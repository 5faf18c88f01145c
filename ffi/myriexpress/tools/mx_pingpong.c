/*
 * mx_pingpong - half of the time from a message to its answer, by size.
 *
 * Without -d it answers; with -d HOST it asks the one that answers there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "myriexpress.h"

enum { QUESTION = 1, ANSWER = 2 };

/* What the command line says. */
struct options {
  uint32_t board, local, remote, key, start, end, increment, count, warmup;
  double multiplier;
  const char *host;
  int blocking, verify;
};

/* What is measured next; a count of 0 ends it. */
struct order {
  uint32_t length, count;
};

static struct options options = {MX_ANY_NIC, 0, 0, 0x12345, 0, 1 << 20, 0, 1000, 10, 2.0, NULL, 0, 0};
static mx_endpoint_t ep;

static void fail(const char *what) {
  fprintf(stderr, "mx_pingpong: %s\n", what);
  exit(1);
}

static void usage(void) {
  fprintf(stderr,
          "usage: mx_pingpong [-b BOARD] [-e LOCAL] [-f KEY] [-w] [-V]           answers\n"
          "       mx_pingpong -d HOST [-r REMOTE] [-S FIRST] [-E LAST] [-M FACTOR | -I STEP]\n"
          "                   [-N ROUNDS] [-W ROUNDS] [-b BOARD] [-e LOCAL] [-f KEY] [-w] [-V]   asks\n");
  exit(2);
}

static uint32_t number(const char *text) {
  char *rest;
  unsigned long value = strtoul(text, &rest, 0);
  if (*text == '\0' || *rest != '\0' || value > 0xffffffffUL) usage();
  return (uint32_t)value;
}

static void read_options(int argc, char **argv) {
  int option;
  while ((option = getopt(argc, argv, "b:d:e:f:r:S:E:I:M:N:W:wVh")) != -1) {
    switch (option) {
      case 'b': options.board = number(optarg); break;
      case 'd': options.host = optarg; break;
      case 'e': options.local = number(optarg); break;
      case 'f': options.key = number(optarg); break;
      case 'r': options.remote = number(optarg); break;
      case 'S': options.start = number(optarg); break;
      case 'E': options.end = number(optarg); break;
      case 'I': options.increment = number(optarg); break;
      case 'M': options.multiplier = atof(optarg); break;
      case 'N': options.count = number(optarg); break;
      case 'W': options.warmup = number(optarg); break;
      case 'w': options.blocking = 1; break;
      case 'V': options.verify = 1; break;
      default: usage();
    }
  }
  if (optind != argc || options.count == 0) usage();
  if (options.increment == 0 && options.multiplier <= 1.0) usage();
}

static mx_status_t finish(mx_request_t *request) {
  mx_status_t status;
  uint32_t result = 0;
  while (!result) {
    if (options.blocking) {
      mx_wait(ep, request, MX_INFINITE, &status, &result);
    } else {
      mx_test(ep, request, &status, &result);
    }
  }
  if (status.code != MX_STATUS_SUCCESS) fail(mx_strstatus(status.code));
  return status;
}

static void put(mx_endpoint_addr_t to, uint64_t info, void *at, uint32_t length) {
  mx_segment_t one;
  mx_request_t request;
  one.segment_ptr = at;
  one.segment_length = length;
  mx_isend(ep, &one, 1, to, info, NULL, &request);
  finish(&request);
}

static mx_status_t get(uint64_t info, void *at, uint32_t length) {
  mx_segment_t one;
  mx_request_t request;
  one.segment_ptr = at;
  one.segment_length = length;
  mx_irecv(ep, &one, 1, info, MX_MATCH_MASK_NONE, NULL, &request);
  return finish(&request);
}

static unsigned char *room(uint32_t length) {
  unsigned char *at = malloc((size_t)length + 1);
  if (at == NULL) fail("no memory");
  memset(at, 0x5a, (size_t)length + 1);
  return at;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Sends back what comes, until an order is for nothing. */
static void answer(void) {
  struct order order;
  for (;;) {
    uint32_t i;
    unsigned char *at;
    mx_endpoint_addr_t from = get(0, &order, sizeof order).source;
    if (order.count == 0) return;
    at = room(order.length);
    put(from, 0, &order, sizeof order);
    for (i = 0; i < order.count; i++) {
      get(QUESTION, at, order.length);
      put(from, ANSWER, at, order.length);
    }
    free(at);
  }
}

/* One size. */
static void measure(mx_endpoint_addr_t to, uint32_t length) {
  struct order order;
  unsigned char *out = room(length), *in = room(length);
  double began = 0, half;
  uint32_t i;
  order.length = length;
  order.count = options.count + options.warmup;
  put(to, 0, &order, sizeof order);
  get(0, &order, sizeof order);
  for (i = 0; i < order.count; i++) {
    if (i == options.warmup) began = seconds();
    if (options.verify) memset(out, (int)(i & 0xff), length);
    put(to, QUESTION, out, length);
    get(ANSWER, in, length);
    if (options.verify && memcmp(out, in, length) != 0) fail("a message came back changed");
  }
  half = (seconds() - began) / options.count / 2;
  printf("%10u %12.3f %14.3f\n", length, half * 1e6, half > 0 ? length / half / 1e6 : 0);
  fflush(stdout);
  free(out);
  free(in);
}

static uint32_t next(uint32_t length) {
  double larger = options.increment > 0 ? (double)length + options.increment : length * options.multiplier;
  if (larger < (double)length + 1) larger = (double)length + 1;
  return larger > 4294967295.0 ? 0xffffffffU : (uint32_t)larger;
}

static void ask(void) {
  char name[MX_MAX_HOSTNAME_LEN];
  struct order end = {0, 0};
  mx_endpoint_addr_t to;
  uint64_t nic;
  uint32_t length;
  int tries = 0;
  snprintf(name, sizeof name, "%s", options.host);
  /* The answering side may have been started a moment ago only. */
  mx_set_error_handler(MX_ERRORS_RETURN);
  while (mx_hostname_to_nic_id(name, &nic) == MX_HOST_NOT_FOUND && tries++ < 500) usleep(10000);
  mx_set_error_handler(MX_ERRORS_ARE_FATAL);
  mx_hostname_to_nic_id(name, &nic);
  tries = 0;
  mx_set_error_handler(MX_ERRORS_RETURN);
  while (mx_connect(ep, nic, options.remote, options.key, 1000, &to) == MX_CONNECTION_FAILED && tries++ < 500) {
    usleep(10000);
  }
  mx_set_error_handler(MX_ERRORS_ARE_FATAL);
  mx_connect(ep, nic, options.remote, options.key, MX_INFINITE, &to);
  printf("%10s %12s %14s\n", "Length", "Latency(us)", "Bandwidth(MB/s)");
  for (length = options.start; length <= options.end; length = next(length)) {
    measure(to, length);
    if (length == 0xffffffffU) break;
  }
  put(to, 0, &end, sizeof end);
}

int main(int argc, char **argv) {
  uint32_t own;
  read_options(argc, argv);
  mx_init();
  own = options.host != NULL && options.local == 0 ? MX_ANY_ENDPOINT : options.local;
  mx_open_endpoint(options.board, own, options.key, NULL, 0, &ep);
  if (options.host != NULL) {
    ask();
  } else {
    answer();
  }
  mx_close_endpoint(ep);
  mx_finalize();
  return 0;
}
