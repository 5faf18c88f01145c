/*
 * A guest with two boards, each in a partition of its own, and a partner on each.
 * Arguments: own boards (two or one), then the partner of each.
 */
#include <unistd.h>

#include "check.h"

enum { NUMBER = 4, KEY = 0xb0a4d5, LENGTH = 100000 };

static unsigned char out[LENGTH], in[LENGTH];

/* Finds a board that may not be known yet. */
static uint64_t find(char *name) {
  uint64_t nic = 0;
  mx_set_error_handler(MX_ERRORS_RETURN);
  while (mx_hostname_to_nic_id(name, &nic) != MX_SUCCESS) usleep(2000);
  mx_set_error_handler(note);
  return nic;
}

static mx_endpoint_addr_t reach(mx_endpoint_t ep, char *name) {
  uint64_t nic = find(name);
  mx_endpoint_addr_t to;
  mx_set_error_handler(MX_ERRORS_RETURN);
  while (mx_connect(ep, nic, NUMBER, KEY, 1000, &to) != MX_SUCCESS) usleep(2000);
  mx_set_error_handler(note);
  return to;
}

/* A message of each kind to the partner, and one of each from it. */
static void exchange(mx_endpoint_t ep, mx_endpoint_addr_t to) {
  static const size_t lengths[] = {8, 5000, LENGTH};
  size_t i;
  for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    mx_request_t receive = post_receive(ep, i, MX_MATCH_MASK_NONE, in, LENGTH), send;
    mx_status_t status;
    fill(out, lengths[i], (unsigned)i);
    send = post_send(ep, to, i, out, lengths[i]);
    status = end_of(ep, &receive);
    CLAIM(status.code == MX_STATUS_SUCCESS && status.xfer_length == lengths[i]);
    CLAIM(is_filled(in, lengths[i], (unsigned)i));
    CLAIM(end_of(ep, &send).code == MX_STATUS_SUCCESS);
  }
}

/* What is said of the boards: how many, which, and by what numbers. */
static void look(uint32_t boards, char **names) {
  uint64_t ids[3] = {0, 0, 0}, nic;
  uint32_t count = 0, number, none = boards;
  char name[MX_MAX_HOSTNAME_LEN], want[MX_MAX_HOSTNAME_LEN];
  OK(mx_get_info(NULL, MX_NIC_COUNT, NULL, 0, &count, sizeof count));
  CLAIM(count == boards);
  OK(mx_get_info(NULL, MX_NIC_IDS, NULL, 0, ids, (count + 1) * (uint32_t)sizeof ids[0]));
  CLAIM(ids[count] == 0);
  for (number = 0; number < boards; number++) {
    OK(mx_board_number_to_nic_id(number, &nic));
    CLAIM(nic == ids[number] && nic == find(names[number]));
    OK(mx_nic_id_to_board_number(nic, &count));
    CLAIM(count == number);
    OK(mx_nic_id_to_hostname(nic, name));
    snprintf(want, sizeof want, "%s:0", names[number]);
    CLAIM(strcmp(name, want) == 0);
  }
  OK(mx_board_number_to_nic_id(MX_ANY_NIC, &nic));
  CLAIM(nic == ids[0]);
  FAILS(MX_BOARD_UNKNOWN, mx_board_number_to_nic_id(none, &nic));
  FAILS(MX_BOARD_UNKNOWN, mx_get_info(NULL, MX_PORT_COUNT, &none, sizeof none, &count, sizeof count));
}

/* Each endpoint is on the board it was opened on, whatever others have that number. */
static void own(mx_endpoint_t ep, uint32_t board) {
  mx_endpoint_addr_t address;
  uint64_t nic, expected;
  uint32_t id;
  OK(mx_get_endpoint_addr(ep, &address));
  OK(mx_decompose_endpoint_addr(address, &nic, &id));
  OK(mx_board_number_to_nic_id(board, &expected));
  CLAIM(nic == expected && id == NUMBER);
}

int main(int argc, char **argv) {
  int boards = (argc - 1) / 2, i;
  char **names = argv + 1, **partners = argv + 1 + boards;
  mx_endpoint_t eps[2];
  mx_endpoint_addr_t to[2];
  uint64_t across;
  CLAIM((boards == 1 || boards == 2) && argc == 1 + 2 * boards);
  mx_set_error_handler(note);
  OK(mx_init());
  look((uint32_t)boards, names);
  for (i = 0; i < boards; i++) {
    uint32_t board = i == 0 ? MX_ANY_NIC : (uint32_t)i;
    OK(mx_open_endpoint(board, NUMBER, KEY, NULL, 0, &eps[i]));
    own(eps[i], (uint32_t)i);
  }
  FAILS(MX_BOARD_UNKNOWN, mx_open_endpoint((uint32_t)boards, NUMBER, KEY, NULL, 0, &eps[0]));
  FAILS(MX_BUSY, mx_open_endpoint(0, NUMBER, KEY, NULL, 0, &eps[0]));
  for (i = 0; i < boards; i++) to[i] = reach(eps[i], partners[i]);
  /* Partners go when they have what they want. */
  across = find(partners[boards - 1]);
  for (i = 0; i < boards; i++) exchange(eps[i], to[i]);
  if (boards == 2) {
    /* Nobody is reached across: the partner of one board is not in the other's partition. */
    mx_return_t code;
    mx_set_error_handler(MX_ERRORS_RETURN);
    code = mx_connect(eps[0], across, NUMBER, KEY, 200, &to[0]);
    mx_set_error_handler(note);
    CLAIM(code == MX_NIC_NOT_FOUND);
    /* An address is its endpoint's alone. */
    {
      mx_segment_t one = segment(out, 8);
      mx_request_t request;
      FAILS(MX_BAD_ENDPOINT, mx_isend(eps[0], &one, 1, to[1], 9, NULL, &request));
    }
    for (i = 0; i < 2; i++) {
      uint32_t board = (uint32_t)i, count = 0, values[64];
      OK(mx_get_info(NULL, MX_COUNTERS_COUNT, &board, sizeof board, &count, sizeof count));
      CLAIM(count <= 64);
      OK(mx_get_info(NULL, MX_COUNTERS_VALUES, &board, sizeof board, values, count * (uint32_t)sizeof values[0]));
      /* Messages sent, messages received: each board counts its own. */
      CLAIM(values[0] == 3 && values[1] == 3);
    }
  }
  for (i = 0; i < boards; i++) OK(mx_close_endpoint(eps[i]));
  OK(mx_finalize());
  puts("all as it should be");
  return 0;
}
