/*
 * Memory stays as it is however many connections, receives and messages come and go.
 * Arguments: connections, cancelled receives, requests.
 */
#include "check.h"

enum { KEY = 0xc0, BATCH = 50, LARGE = 40000, ALLOWED = 1 << 19 };
static const uint64_t ALL = MX_MATCH_MASK_NONE;

static mx_endpoint_t a, b;
static mx_endpoint_addr_t to;
static uint64_t nic;
static uint32_t number;
static unsigned char from[LARGE], into[BATCH][LARGE];

/* Bytes of memory of its own that this process uses: rings are shared, and come into use page by page. */
static long memory(void) {
  FILE *file = fopen("/proc/self/status", "r");
  char line[200];
  long used = -1;
  CLAIM(file != NULL);
  while (used < 0 && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "RssAnon: %ld kB", &used) != 1) used = -1;
  }
  fclose(file);
  CLAIM(used > 0);
  return used * 1024;
}

/* Waits for the end of a request and works for both endpoints meanwhile: nobody else does, but the library's thread, now and then. */
static mx_status_t end_at(mx_endpoint_t ep, mx_request_t *request) {
  mx_status_t status;
  uint32_t result = 0;
  while (!result) {
    OK(mx_test(ep, request, &status, &result));
    if (!result) OK(mx_progress(ep == a ? b : a));
  }
  return status;
}

static void one_connection(void) {
  mx_request_t send, receive;
  OK(mx_connect(a, nic, number, KEY, 10000, &to));
  OK(mx_set_endpoint_addr_context(to, &to));
  receive = post_receive(b, 1, ALL, into[0], 100);
  send = post_send(a, to, 1, from, 100);
  end_at(b, &receive);
  end_at(a, &send);
  OK(mx_disconnect(a, to));
}

static void one_cancelled(void) {
  uint32_t result = 0;
  mx_request_t receive = post_receive(b, 2, ALL, into[0], LARGE);
  OK(mx_cancel(b, &receive, &result));
  CLAIM(result == 1);
}

/* Messages of all three kinds; some are forgotten, some picked up by their bits. */
static void one_batch(void) {
  mx_request_t sends[BATCH], receives[BATCH];
  mx_status_t status;
  uint32_t result;
  int i;
  for (i = 0; i < BATCH; i++) {
    size_t length = i == 0 ? LARGE : i < 5 ? 5000 : (size_t)i;
    receives[i] = post_receive(b, (uint64_t)i, ALL, into[i], length);
    sends[i] = post_send(a, to, (uint64_t)i, from, length);
  }
  for (i = 0; i < BATCH; i++) {
    if (i % 4 == 2) {
      OK(mx_wait_any(b, 10000, (uint64_t)i, ALL, &status, &result));
      CLAIM(result == 1 && status.code == MX_STATUS_SUCCESS);
    } else {
      CLAIM(end_at(b, &receives[i]).code == MX_STATUS_SUCCESS);
    }
    if (i % 4 == 1) {
      OK(mx_forget(a, &sends[i]));
    } else {
      end_at(a, &sends[i]);
    }
  }
}

/* Does it so often, and looks at the memory after each tenth: after the first it is to stay as it is. */
static void often(const char *what, long times, void (*once)(void)) {
  long i, tenth, before = 0, after = 0;
  printf("%s, %ld times: KiB after each tenth", what, times);
  for (tenth = 0; tenth < 10; tenth++) {
    for (i = times * tenth / 10; i < times * (tenth + 1) / 10; i++) once();
    after = memory();
    if (tenth == 0) before = after;
    printf(" %ld", after / 1024);
  }
  printf("\n");
  CLAIM(after - before < ALLOWED);
}

int main(int argc, char **argv) {
  mx_endpoint_addr_t own;
  CLAIM(argc == 4);
  mx_set_error_handler(note);
  OK(mx_init());
  OK(mx_open_endpoint(0, MX_ANY_ENDPOINT, KEY, NULL, 0, &a));
  OK(mx_open_endpoint(0, MX_ANY_ENDPOINT, KEY, NULL, 0, &b));
  OK(mx_get_endpoint_addr(b, &own));
  OK(mx_decompose_endpoint_addr(own, &nic, &number));
  often("connections", atol(argv[1]), one_connection);
  often("cancelled receives", atol(argv[2]), one_cancelled);
  OK(mx_connect(a, nic, number, KEY, 10000, &to));
  often("batches of 100 requests", atol(argv[3]) / (2 * BATCH), one_batch);
  OK(mx_close_endpoint(a));
  OK(mx_close_endpoint(b));
  OK(mx_finalize());
  return 0;
}
