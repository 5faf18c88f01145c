/*
 * Return codes and status codes that take more than a wrong call.
 * Arguments: ends (what one process can do); orphaned (the back end ends meanwhile); init CODE (that is what mx_init returns).
 */
#include <unistd.h>

#include "check.h"

enum { KEY = 0xc0de, LARGE = 100000, MOST = 255 };
static const uint64_t ALL = MX_MATCH_MASK_NONE;

static mx_endpoint_t a;
static unsigned char large[LARGE];

static mx_endpoint_t open_any(void) {
  mx_endpoint_t ep = NULL;
  OK(mx_open_endpoint(0, MX_ANY_ENDPOINT, KEY, NULL, 0, &ep));
  return ep;
}

static uint64_t whereabouts(mx_endpoint_t ep, uint32_t *number) {
  mx_endpoint_addr_t own;
  uint64_t nic = 0;
  OK(mx_get_endpoint_addr(ep, &own));
  OK(mx_decompose_endpoint_addr(own, &nic, number));
  return nic;
}

static mx_endpoint_addr_t connected(mx_endpoint_t ep, mx_endpoint_t to) {
  mx_endpoint_addr_t addr;
  uint32_t number = 0;
  uint64_t nic = whereabouts(to, &number);
  OK(mx_connect(ep, nic, number, KEY, MX_INFINITE, &addr));
  return addr;
}

/* An endpoint whose progression is off does not answer. */
static void timeout(void) {
  mx_endpoint_t b = open_any();
  mx_endpoint_addr_t addr;
  uint32_t number = 0;
  uint64_t nic = whereabouts(b, &number);
  OK(mx_disable_progression(b));
  FAILS(MX_TIMEOUT, mx_connect(a, nic, number, KEY, 50, &addr));
  OK(mx_reenable_progression(b));
  OK(mx_connect(a, nic, number, KEY, MX_INFINITE, &addr));
  OK(mx_close_endpoint(b));
}

/* A process has so many endpoints, and no more; one that is closed makes room. */
static void resources(void) {
  static mx_endpoint_t all[MOST];
  mx_endpoint_t more = NULL;
  int i;
  for (i = 1; i < MOST; i++) all[i] = open_any();
  FAILS(MX_NO_RESOURCES, mx_open_endpoint(0, MX_ANY_ENDPOINT, KEY, NULL, 0, &more));
  CLAIM(more == NULL);
  OK(mx_close_endpoint(all[1]));
  all[1] = open_any();
  for (i = 1; i < MOST; i++) OK(mx_close_endpoint(all[i]));
}

/* The end of a send of `length` bytes. */
static mx_status_code_t sent(mx_endpoint_addr_t to, size_t length) {
  mx_request_t send = post_send(a, to, 1, large, length);
  return end_of(a, &send).code;
}

/* How a send ends whose endpoint is closed under it, and the next one. */
static void closed(void) {
  mx_endpoint_t b = open_any();
  mx_endpoint_addr_t to = connected(a, b);
  mx_request_t send = post_send(a, to, 1, large, LARGE);
  uint32_t result = 0;
  OK(mx_probe(b, 60000, 1, ALL, NULL, &result));
  CLAIM(result == 1);
  OK(mx_close_endpoint(b));
  CLAIM(end_of(a, &send).code == MX_STATUS_ENDPOINT_CLOSED);
  CLAIM(sent(to, LARGE) == MX_STATUS_ENDPOINT_UNREACHABLE);
}

/* How a send ends to an endpoint in whose place there is another. */
static void reopened(void) {
  mx_endpoint_t b = open_any();
  mx_endpoint_addr_t to = connected(a, b);
  uint32_t number = 0;
  whereabouts(b, &number);
  OK(mx_disable_progression(a));
  OK(mx_close_endpoint(b));
  OK(mx_open_endpoint(0, number, KEY, NULL, 0, &b));
  OK(mx_reenable_progression(a));
  CLAIM(sent(to, LARGE) == MX_STATUS_BAD_SESSION);
  OK(mx_close_endpoint(b));
}

/* How a receive ends whose data the sender does not keep for it any more. */
static void aborted(void) {
  static unsigned char in[LARGE];
  mx_endpoint_t b = open_any();
  mx_request_t send = post_send(a, connected(a, b), 1, large, LARGE), receive;
  mx_status_t status;
  uint32_t result = 0;
  OK(mx_probe(b, 60000, 1, ALL, NULL, &result));
  CLAIM(result == 1);
  OK(mx_set_request_timeout(a, send, 5));
  CLAIM(end_of(a, &send).code == MX_STATUS_TIMEOUT);
  receive = post_receive(b, 1, ALL, in, LARGE);
  status = end_of(b, &receive);
  CLAIM(status.code == MX_STATUS_ABORTED && status.msg_length == LARGE && status.xfer_length == 0);
  OK(mx_close_endpoint(b));
}

/* Opens endpoints until that fails. */
static void orphaned(void) {
  mx_endpoint_t ep;
  mx_return_t code;
  printf("attached\n");
  fflush(stdout);
  do {
    code = mx_open_endpoint(0, MX_ANY_ENDPOINT, KEY, NULL, 0, &ep);
    if (code == MX_SUCCESS) OK(mx_close_endpoint(ep));
  } while (code == MX_SUCCESS);
  CLAIM(code == MX_NIC_DEAD && told == MX_NIC_DEAD);
  exit(0);
}

int main(int argc, char **argv) {
  CLAIM(argc >= 2);
  mx_set_error_handler(note);
  if (strcmp(argv[1], "init") == 0) {
    CLAIM(argc == 3);
    FAILS((mx_return_t)atoi(argv[2]), mx_init());
    FAILS(MX_NOT_INITIALIZED, mx_finalize());
    return 0;
  }
  OK(mx_init());
  if (strcmp(argv[1], "orphaned") == 0) orphaned();
  CLAIM(strcmp(argv[1], "ends") == 0);
  a = open_any();
  timeout();
  closed();
  reopened();
  aborted();
  resources();
  OK(mx_close_endpoint(a));
  OK(mx_finalize());
  return 0;
}
