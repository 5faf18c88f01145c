/*
 * mx_endpoint_info - which endpoints of a board are open.
 *
 * Of this guest's boards the back end tells, and whose they are. For a board elsewhere the interface has no list: each number
 * is asked to connect, with a key that hardly anybody uses. An open endpoint refuses the key, a closed one the number. Whose it is
 * nobody tells.
 */
#define TOOL "mx_endpoint_info"
#define USAGE "usage: mx_endpoint_info [-b BOARD] [-d HOST] [-t MILLISECONDS]\n"
#include "mx_extensions.h"
#include "mx_tool.h"

/* Numbers of endpoints: they have a byte. */
enum { NUMBERS = 256 };
/* Not one that programs use, so that they are not connected to in earnest. */
enum { PROBE_KEY = 0x6d9e1f3b };

/* What is known of one number after it was asked. */
static const char *meaning(mx_status_code_t code) {
  switch (code) {
    case MX_STATUS_SUCCESS:
    case MX_STATUS_BAD_KEY: return "open";
    case MX_STATUS_TIMEOUT: return "does not answer";
    case MX_STATUS_ENDPOINT_CLOSED:
    case MX_STATUS_BAD_ENDPOINT: return NULL;
    default: return mx_strstatus(code);
  }
}

/* Asks all numbers at once and prints what they say; gives how many are open. */
static uint32_t ask(mx_endpoint_t ep, uint64_t nic, uint64_t own_nic, uint32_t own) {
  mx_request_t requests[NUMBERS];
  uint32_t i, open = 0;
  for (i = 0; i < NUMBERS; i++) mx_iconnect(ep, nic, i, PROBE_KEY, i, NULL, &requests[i]);
  for (i = 0; i < NUMBERS; i++) {
    const char *state = meaning(end_of(ep, &requests[i], 1).code);
    if (nic == own_nic && i == own) {
      printf("%-10u %-12ld %-20s %s\n", i, (long)getpid(), TOOL, "open, to ask the others");
    } else if (state != NULL) {
      printf("%-10u %-12s %-20s %s\n", i, "-", "-", state);
      open += strcmp(state, "open") == 0;
    }
  }
  return open;
}

/* The name of a process of this machine; a dash where it is not to be seen. */
static void name_of(uint32_t pid, char *name, size_t room) {
  char path[64];
  FILE *file;
  snprintf(name, room, "-");
  snprintf(path, sizeof path, "/proc/%u/comm", pid);
  file = pid == 0 ? NULL : fopen(path, "r");
  if (file == NULL) return;
  if (fgets(name, (int)room, file) != NULL) name[strcspn(name, "\n")] = 0;
  fclose(file);
}

/* Prints those that the back end tells of; gives how many there are but for our own, or -1 where it tells of none. */
static long list(uint32_t board, uint32_t own) {
  uint32_t ports[NUMBERS + 1][2], i;
  mx_get_info(NULL, MX_MYRIXEN_ENDPOINTS, &board, sizeof board, ports, sizeof ports);
  for (i = 0; ports[i][0] < NUMBERS; i++) {
    char name[32], pid[16];
    name_of(ports[i][1], name, sizeof name);
    snprintf(pid, sizeof pid, "%u", ports[i][1]);
    if (ports[i][1] == 0) strcpy(pid, "-");
    printf("%-10u %-12s %-20s %s\n", ports[i][0], pid, name, ports[i][0] == own ? "open, to ask the others" : "open");
  }
  return (long)i - 1;
}

int main(int argc, char **argv) {
  uint32_t board = 0, timeout = 2000, own, most = 0, open;
  long listed = -1;
  const char *host = NULL;
  char name[MX_MAX_HOSTNAME_LEN];
  uint64_t nic, own_nic;
  mx_endpoint_t ep;
  mx_endpoint_addr_t addr;
  int option;
  while ((option = getopt(argc, argv, "b:d:t:h")) != -1) {
    switch (option) {
      case 'b': board = number(option, optarg); break;
      case 'd': host = optarg; break;
      case 't': timeout = number(option, optarg); break;
      case 'h': help(); break;
      default: usage();
    }
  }
  if (optind != argc) wrong("there are options only");
  if (timeout == 0) wrong("-t: at least a millisecond");
  mx_init();
  mx_open_endpoint(board, MX_ANY_ENDPOINT, PROBE_KEY, NULL, 0, &ep);
  mx_get_endpoint_addr(ep, &addr);
  mx_decompose_endpoint_addr(addr, &own_nic, &own);
  nic = host == NULL ? own_nic : find_host(host);
  mx_set_request_timeout(ep, NULL, timeout);
  mx_nic_id_to_hostname(nic, name);
  printf("Board %s:\n", name);
  printf("%-10s %-12s %-20s %s\n", "Endpoint", "PID", "Command", "Info");
  if (nic == own_nic) listed = list(board, own);
  open = listed >= 0 ? (uint32_t)listed : ask(ep, nic, own_nic, own);
  printf("There are currently %u regular endpoint%s open", open, open == 1 ? "" : "s");
  if (nic == own_nic) {
    mx_get_info(NULL, MX_MAX_NATIVE_ENDPOINTS, &board, sizeof board, &most, sizeof most);
    printf(", of %u at most", most);
  }
  printf("\n");
  mx_close_endpoint(ep);
  mx_finalize();
  return 0;
}
