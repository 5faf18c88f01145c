/*
 * A guest uses the memory of synchronous sends again as soon as mx_ibuffered lets it, before the other guest receives them.
 * Arguments: `receive`, or `send HOST`.
 */
#include "check.h"

enum { KEY = 0x71, ROUNDS = 20, LENGTH = 32768 };
static const uint64_t ALL = MX_MATCH_MASK_NONE;
static unsigned char bytes[LENGTH];

static void receive(void) {
  mx_endpoint_t ep;
  mx_request_t request;
  unsigned round;
  OK(mx_open_endpoint(0, 1, KEY, NULL, 0, &ep));
  for (round = 0; round < ROUNDS; round++) {
    mx_status_t status;
    /* The sender is asleep when this is over, or about to be. */
    request = post_receive(ep, 2, ALL, NULL, 0);
    status = end_of(ep, &request);
    request = post_receive(ep, 1, ALL, bytes, sizeof bytes);
    CLAIM(end_of(ep, &request).xfer_length == LENGTH);
    CLAIM(is_filled(bytes, sizeof bytes, round));
    request = post_send(ep, status.source, 3, NULL, 0);
    end_of(ep, &request);
  }
  OK(mx_close_endpoint(ep));
}

static void send_to(char *host) {
  mx_endpoint_t ep;
  mx_endpoint_addr_t to;
  mx_segment_t one = segment(bytes, sizeof bytes);
  uint64_t nic;
  uint32_t result;
  unsigned round;
  OK(mx_open_endpoint(0, MX_ANY_ENDPOINT, KEY, NULL, 0, &ep));
  /* It may not have started, or opened its endpoint. */
  mx_set_error_handler(MX_ERRORS_RETURN);
  while (mx_hostname_to_nic_id(host, &nic) != MX_SUCCESS) mx_progress(ep);
  while (mx_connect(ep, nic, 1, KEY, MX_INFINITE, &to) != MX_SUCCESS) mx_progress(ep);
  mx_set_error_handler(note);
  for (round = 0; round < ROUNDS; round++) {
    mx_request_t send, go, back;
    fill(bytes, sizeof bytes, round);
    OK(mx_issend(ep, &one, 1, to, 1, NULL, &send));
    OK(mx_ibuffered(ep, &send, &result));
    CLAIM(result == 1);
    memset(bytes, 0x55, sizeof bytes);
    back = post_receive(ep, 3, ALL, NULL, 0);
    go = post_send(ep, to, 2, NULL, 0);
    end_of(ep, &back);
    end_of(ep, &go);
    CLAIM(end_of(ep, &send).code == MX_STATUS_SUCCESS);
  }
  OK(mx_close_endpoint(ep));
}

int main(int argc, char **argv) {
  mx_set_error_handler(note);
  OK(mx_init());
  if (argc == 3) {
    send_to(argv[2]);
  } else {
    receive();
  }
  OK(mx_finalize());
  return 0;
}
