/*
 * mx_hostname - the name of a board, or the names and NIC ids of others.
 */
#define TOOL "mx_hostname"
#define USAGE \
  "usage: mx_hostname [-b BOARD]            shows the name of a board of this guest\n" \
  "       mx_hostname HOST | NIC-ID ...     shows names and NIC ids of others\n"
#include "mx_tool.h"

/* One line about what the command line names; 0 if nobody is called so. */
static int show(const char *what) {
  char name[MX_MAX_HOSTNAME_LEN], text[NIC_TEXT];
  uint64_t nic = 0;
  mx_return_t code;
  if (!read_nic(what, &nic)) {
    if (strlen(what) >= sizeof name) wrong("the name of a host has at most 79 bytes");
    strcpy(name, what);
    code = mx_hostname_to_nic_id(name, &nic);
    if (code != MX_SUCCESS) {
      fprintf(stderr, TOOL ": %s: %s\n", what, mx_strerror(code));
      return 0;
    }
  }
  code = mx_nic_id_to_hostname(nic, name);
  if (code != MX_SUCCESS) {
    fprintf(stderr, TOOL ": %s: %s\n", what, mx_strerror(code));
    return 0;
  }
  printf("%s %s\n", nic_text(nic, text), name);
  return 1;
}

int main(int argc, char **argv) {
  uint32_t board = MX_ANY_NIC;
  int option, found = 1;
  while ((option = getopt(argc, argv, "b:h")) != -1) {
    switch (option) {
      case 'b': board = number(option, optarg); break;
      case 'h': help(); break;
      default: usage();
    }
  }
  if (optind < argc && board != MX_ANY_NIC) wrong("-b is for this guest's own boards");
  mx_init();
  if (optind == argc) {
    char name[MX_MAX_HOSTNAME_LEN];
    uint64_t nic = 0;
    mx_board_number_to_nic_id(board, &nic);
    mx_nic_id_to_hostname(nic, name);
    printf("%s\n", name);
  } else {
    mx_set_error_handler(MX_ERRORS_RETURN);
    for (; optind < argc; optind++) found &= show(argv[optind]);
  }
  mx_finalize();
  return found ? 0 : 1;
}
