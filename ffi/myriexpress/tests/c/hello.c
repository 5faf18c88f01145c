/* Two guests say hello: `hello serve` waits for a message and answers it, `hello call HOST` sends one. */
#include <stdio.h>
#include <string.h>

#include "mx_extensions.h"

enum { KEY = 0x1234 };

/* Waits for a request; true if it succeeded. */
static int ends(mx_endpoint_t ep, mx_request_t *request, mx_status_t *status) {
  uint32_t result = 0;
  while (!result) {
    if (mx_wait(ep, request, MX_INFINITE, status, &result) != MX_SUCCESS) return 0;
  }
  return status->code == MX_STATUS_SUCCESS;
}

static int receive(mx_endpoint_t ep, char *text, uint32_t room, mx_status_t *status) {
  mx_segment_t segment;
  mx_request_t request;
  segment.segment_ptr = text;
  segment.segment_length = room;
  mx_irecv(ep, &segment, 1, 0, 0, NULL, &request);
  return ends(ep, &request, status);
}

static int send_text(mx_endpoint_t ep, mx_endpoint_addr_t to, char *text) {
  mx_segment_t segment;
  mx_request_t request;
  mx_status_t status;
  segment.segment_ptr = text;
  segment.segment_length = (uint32_t)strlen(text) + 1;
  mx_isend(ep, &segment, 1, to, 42, NULL, &request);
  return ends(ep, &request, &status);
}

int main(int argc, char **argv) {
  char text[64], question[] = "hello", answer[] = "hello to you";
  mx_endpoint_t ep;
  mx_endpoint_addr_t peer;
  mx_status_t status;
  uint64_t nic;
  int ok = 0;
  mx_init();
  if (argc == 2 && strcmp(argv[1], "serve") == 0) {
    mx_open_endpoint(MX_ANY_NIC, 1, KEY, NULL, 0, &ep);
    ok = receive(ep, text, sizeof text, &status) && send_text(ep, status.source, answer);
  } else if (argc == 3) {
    mx_open_endpoint(MX_ANY_NIC, MX_ANY_ENDPOINT, KEY, NULL, 0, &ep);
    /* A guest that has just started, or another host, may not be known yet, and may not have opened its endpoint. */
    mx_set_error_handler(MX_ERRORS_RETURN);
    while (mx_hostname_to_nic_id(argv[2], &nic) == MX_HOST_NOT_FOUND) mx_progress(ep);
    while (mx_connect(ep, nic, 1, KEY, MX_INFINITE, &peer) == MX_CONNECTION_FAILED) mx_progress(ep);
    mx_set_error_handler(MX_ERRORS_ARE_FATAL);
    ok = send_text(ep, peer, question) && receive(ep, text, sizeof text, &status);
    printf("%s\n", text);
  } else {
    fprintf(stderr, "usage: hello serve | hello call HOST\n");
    return 2;
  }
  mx_close_endpoint(ep);
  mx_finalize();
  return ok ? 0 : 1;
}
