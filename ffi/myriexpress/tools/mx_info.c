/*
 * mx_info - what the library says of itself and of its boards.
 */
#define TOOL "mx_info"
#define USAGE "usage: mx_info [-b BOARD]\n"
#include "mx_io.h"
#include "mx_tool.h"

/* A text that the library has about a board. */
static const char *text_of(uint32_t board, mx_get_info_key_t key, char text[MX_MAX_STR_LEN]) {
  mx_get_info(NULL, key, &board, sizeof board, text, MX_MAX_STR_LEN);
  return text;
}

/* A number that the library has about a board. */
static uint32_t number_of(uint32_t board, mx_get_info_key_t key) {
  uint32_t value = 0;
  mx_get_info(NULL, key, &board, sizeof board, &value, sizeof value);
  return value;
}

static const char *speed_of(uint32_t board) {
  switch (number_of(board, MX_LINE_SPEED)) {
    case MX_SPEED_2G: return "2G";
    case MX_SPEED_10G: return "10G";
    case MX_SPEED_OPEN_MX: return "Open-MX";
    default: return "unknown speed";
  }
}

static void show_board(uint32_t board, uint64_t nic) {
  char name[MX_MAX_HOSTNAME_LEN], text[MX_MAX_STR_LEN], nic_as[NIC_TEXT], mapper[NIC_TEXT];
  const char *network = number_of(board, MX_NET_TYPE) == MX_NET_ETHER ? "Ethernet" : "Myrinet";
  mx_mapper_state_t state;
  mx_endpt_handle_t handle = MX__INVALID_HANDLE;
  uint64_t mac = 0;
  int i;
  mx_nic_id_to_hostname(nic, name);
  mx_open_board((int)board, &handle);
  mx__get_mapper_state(handle, &state);
  for (i = 0; i < 6; i++) mac = mac << 8 | state.mapper_mac[i];
  printf("===================================================================\n");
  printf("Board #%u:\n", board);
  printf("\tHostname:      %s\n", name);
  printf("\tNIC id:        %s\n", nic_text(nic, nic_as));
  printf("\tProduct code:  %s\n", text_of(board, MX_PRODUCT_CODE, text));
  printf("\tPart number:   %s\n", text_of(board, MX_PART_NUMBER, text));
  printf("\tSerial number: %s\n", text_of(board, MX_SERIAL_NUMBER, text));
  printf("\tNetwork:       %s, %s, %u port\n", network, speed_of(board), number_of(board, MX_PORT_COUNT));
  printf("\tEndpoints:     %u at most\n", number_of(board, MX_MAX_NATIVE_ENDPOINTS));
  printf("\tMapper:        %s, version %u, %s\n", nic_text(mac, mapper), state.map_version,
         state.network_configured ? "configured" : "not configured");
  printf("\tMapped hosts:  %u\n", state.num_hosts);
}

int main(int argc, char **argv) {
  uint32_t only = MX_ANY_NIC, count = 0, i;
  uint64_t *nics;
  char text[MX_MAX_STR_LEN];
  int option;
  while ((option = getopt(argc, argv, "b:h")) != -1) {
    switch (option) {
      case 'b': only = number(option, optarg); break;
      case 'h': help(); break;
      default: usage();
    }
  }
  if (optind != argc) wrong("there are options only");
  mx_init();
  mx_get_info(NULL, MX_NIC_COUNT, NULL, 0, &count, sizeof count);
  if (only != MX_ANY_NIC && only >= count) fail("there is no such board");
  nics = calloc((size_t)count + 1, sizeof *nics);
  if (nics == NULL) fail("no memory");
  mx_get_info(NULL, MX_NIC_IDS, NULL, 0, nics, (count + 1) * (uint32_t)sizeof *nics);
  /* The part number of a virtual board is the version of what made it. */
  printf("MX Version: %s (MyriXen)\n", text_of(0, MX_PART_NUMBER, text));
  printf("MX API: 0x%x\n", MX_API);
  printf("%u board%s\n", count, count == 1 ? "" : "s");
  for (i = 0; i < count; i++) {
    if (only == MX_ANY_NIC || only == i) show_board(i, nics[i]);
  }
  free(nics);
  mx_finalize();
  return 0;
}
