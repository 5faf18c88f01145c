/*
 * mx_counters - the counters that mx_get_info has of a board.
 *
 * The library counts what the endpoints of its own process do; the back end, what passes through it for those of all processes. So that there is
 * something to count, the program can send itself messages before it shows them.
 */
#define TOOL "mx_counters"
#define USAGE "usage: mx_counters [-b BOARD] [-q] [-N MESSAGES [-l LENGTH]]\n"
#include "mx_tool.h"

/* Sends itself messages, one after the other. */
static void exercise(mx_endpoint_t ep, uint32_t count, uint32_t length) {
  unsigned char *out = room(length), *in = room(length);
  mx_endpoint_addr_t own = reach_self(ep, TOOL_KEY);
  uint32_t i;
  for (i = 0; i < count; i++) {
    mx_request_t receive = post_receive(ep, i, in, length);
    mx_request_t send = post_send(ep, own, i, out, length);
    finish(ep, &send, 1);
    finish(ep, &receive, 1);
  }
  free(out);
  free(in);
}

static void show(uint32_t board, int all) {
  uint32_t count = 0, i, *values;
  char *labels;
  mx_get_info(NULL, MX_COUNTERS_COUNT, &board, sizeof board, &count, sizeof count);
  values = calloc((size_t)count + 1, sizeof *values);
  labels = calloc((size_t)count + 1, MX_MAX_STR_LEN);
  if (values == NULL || labels == NULL) fail("no memory");
  mx_get_info(NULL, MX_COUNTERS_LABELS, &board, sizeof board, labels, count * MX_MAX_STR_LEN);
  mx_get_info(NULL, MX_COUNTERS_VALUES, &board, sizeof board, values, count * (uint32_t)sizeof *values);
  for (i = 0; i < count; i++) {
    if (all || values[i] != 0) printf("%40.*s: %u\n", MX_MAX_STR_LEN, labels + (size_t)i * MX_MAX_STR_LEN, values[i]);
  }
  free(values);
  free(labels);
}

int main(int argc, char **argv) {
  uint32_t board = 0, count = 0, length = 8;
  int option, all = 1;
  char name[MX_MAX_HOSTNAME_LEN];
  uint64_t nic = 0;
  mx_endpoint_t ep;
  while ((option = getopt(argc, argv, "b:l:N:qh")) != -1) {
    switch (option) {
      case 'b': board = number(option, optarg); break;
      case 'l': length = number(option, optarg); break;
      case 'N': count = number(option, optarg); break;
      case 'q': all = 0; break;
      case 'h': help(); break;
      default: usage();
    }
  }
  if (optind != argc) wrong("there are options only");
  mx_init();
  mx_open_endpoint(board, MX_ANY_ENDPOINT, TOOL_KEY, NULL, 0, &ep);
  if (count > 0) exercise(ep, count, length);
  mx_board_number_to_nic_id(board, &nic);
  mx_nic_id_to_hostname(nic, name);
  printf("Board #%u, %s: what this program's endpoints have counted, and the back end for all of the board\n", board, name);
  show(board, all);
  mx_close_endpoint(ep);
  mx_finalize();
  return 0;
}
