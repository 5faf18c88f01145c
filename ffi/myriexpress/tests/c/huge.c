/* The longest message that there is, between two endpoints of one process. Argument: its length; twice as much memory is taken. */
#include <time.h>

#include "check.h"

enum { KEY = 0x4d5a };

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The word at this place of the message. */
static uint64_t word(size_t at) { return at * 0x9e3779b97f4a7c15u + 1; }

int main(int argc, char **argv) {
  size_t length, words, at;
  unsigned char *out, *in;
  mx_endpoint_t a, b;
  mx_endpoint_addr_t own, to;
  mx_request_t send, receive;
  mx_status_t status;
  uint64_t nic, one;
  uint32_t number;
  double began;
  CLAIM(argc == 2);
  length = strtoull(argv[1], NULL, 0);
  CLAIM(length >= 8 && length <= 0xffffffffu);
  words = length / 8;
  out = malloc(length);
  in = malloc(length);
  CLAIM(out != NULL && in != NULL);
  memset(out, 0, length);
  memset(in, 1, length);
  for (at = 0; at < words; at++) {
    one = word(at);
    memcpy(out + 8 * at, &one, sizeof one);
  }
  mx_set_error_handler(note);
  OK(mx_init());
  OK(mx_open_endpoint(MX_ANY_NIC, MX_ANY_ENDPOINT, KEY, NULL, 0, &a));
  OK(mx_open_endpoint(MX_ANY_NIC, MX_ANY_ENDPOINT, KEY, NULL, 0, &b));
  OK(mx_get_endpoint_addr(b, &own));
  OK(mx_decompose_endpoint_addr(own, &nic, &number));
  OK(mx_connect(a, nic, number, KEY, 10000, &to));
  receive = post_receive(b, 1, MX_MATCH_MASK_NONE, in, length);
  began = seconds();
  send = post_send(a, to, 1, out, length);
  status = end_of(b, &receive);
  printf("%lu bytes in %.2f s\n", (unsigned long)length, seconds() - began);
  CLAIM(status.code == MX_STATUS_SUCCESS);
  CLAIM(status.msg_length == length && status.xfer_length == length);
  status = end_of(a, &send);
  CLAIM(status.code == MX_STATUS_SUCCESS && status.xfer_length == length);
  CLAIM(memcmp(in, out, length) == 0);
  for (at = 0; at < words; at += 4097) {
    memcpy(&one, in + 8 * at, sizeof one);
    CLAIM(one == word(at));
  }
  OK(mx_close_endpoint(a));
  OK(mx_close_endpoint(b));
  OK(mx_finalize());
  free(out);
  free(in);
  return 0;
}
