/*
 * Every call, and every return code that can be provoked, in one process: two endpoints of a board, and bad use of all kinds.
 * Arguments: the name of the own board.
 */
#include <pthread.h>
#include <unistd.h>

#include "check.h"

enum { KEY_A = 0xa, KEY_B = 0xb };
static const uint64_t ALL = MX_MATCH_MASK_NONE;

static mx_endpoint_t a, b;
static mx_endpoint_addr_t a_to_b, b_to_a;
static uint64_t nic;
static char *board_name;

static uint32_t number_of(mx_endpoint_t ep) {
  mx_endpoint_addr_t own;
  uint64_t of;
  uint32_t number;
  OK(mx_get_endpoint_addr(ep, &own));
  OK(mx_decompose_endpoint_addr(own, &of, &number));
  CLAIM(of == nic);
  return number;
}

/* Calls before init, bad levels, init twice, and which handler hears. */
static void beginnings(void) {
  mx_endpoint_t ep = NULL;
  mx_endpoint_addr_t addr;
  mx_error_handler_t first;
  uint32_t number = 0;
  uint64_t id;
  first = mx_set_error_handler(MX_ERRORS_RETURN);
  CLAIM(first == MX_ERRORS_ARE_FATAL);
  CLAIM(mx_set_error_handler(note) == MX_ERRORS_RETURN);
  memset(&addr, 0, sizeof addr);
  FAILS(MX_NOT_INITIALIZED, mx_finalize());
  FAILS(MX_NOT_INITIALIZED, mx_open_endpoint(0, 0, 0, NULL, 0, &ep));
  FAILS(MX_NOT_INITIALIZED, mx_close_endpoint(NULL));
  FAILS(MX_NOT_INITIALIZED, mx_wakeup(NULL));
  FAILS(MX_NOT_INITIALIZED, mx_board_number_to_nic_id(0, &id));
  FAILS(MX_NOT_INITIALIZED, mx_get_info(NULL, MX_NIC_COUNT, NULL, 0, &number, sizeof number));
  FAILS(MX_NOT_INITIALIZED, mx_decompose_endpoint_addr(addr, &id, &number));
  FAILS(MX_BAD_LIB_VERSION, mx__init_api(0));
  FAILS(MX_BAD_LIB_VERSION, mx__init_api(0x401));
  OK(mx_init());
  FAILS(MX_ALREADY_INITIALIZED, mx_init());
  OK(mx_finalize());
  OK(mx__init_api(0x300));
}

static void texts(void) {
  int code;
  for (code = 0; code <= 43; code++) CLAIM(strlen(mx_strerror((mx_return_t)code)) > 0);
  for (code = 0; code <= 16; code++) CLAIM(strlen(mx_strstatus((mx_status_code_t)code)) > 0);
  CLAIM(strcmp(mx_strerror((mx_return_t)44), mx_strerror((mx_return_t)9999)) == 0);
  CLAIM(strlen(mx_strstatus((mx_status_code_t)17)) > 0);
}

static void names(void) {
  char name[MX_MAX_HOSTNAME_LEN], empty[] = "", nobody[] = "nobody-has-this:0";
  uint64_t id = 0;
  uint32_t number = 9;
  OK(mx_board_number_to_nic_id(0, &nic));
  CLAIM(nic != 0 && nic >> 48 == 0);
  OK(mx_board_number_to_nic_id(MX_ANY_NIC, &id));
  CLAIM(id == nic);
  FAILS(MX_BOARD_UNKNOWN, mx_board_number_to_nic_id(7, &id));
  FAILS(MX_BAD_PARAM_VAL, mx_board_number_to_nic_id(0, NULL));
  OK(mx_nic_id_to_board_number(nic, &number));
  CLAIM(number == 0);
  FAILS(MX_NIC_NOT_FOUND, mx_nic_id_to_board_number(nic + 1, &number));
  FAILS(MX_NIC_NOT_FOUND, mx_nic_id_to_board_number(~(uint64_t)0, &number));
  OK(mx_nic_id_to_hostname(nic, name));
  CLAIM(strncmp(name, board_name, strlen(board_name)) == 0 && strstr(name, ":0") != NULL);
  FAILS(MX_NIC_NOT_FOUND, mx_nic_id_to_hostname(nic + 1, name));
  FAILS(MX_BAD_PARAM_VAL, mx_nic_id_to_hostname(nic, NULL));
  OK(mx_hostname_to_nic_id(name, &id));
  CLAIM(id == nic);
  OK(mx_hostname_to_nic_id(board_name, &id));
  CLAIM(id == nic);
  FAILS(MX_HOST_NOT_FOUND, mx_hostname_to_nic_id(nobody, &id));
  FAILS(MX_BAD_HOSTNAME_ARGS, mx_hostname_to_nic_id(empty, &id));
  FAILS(MX_BAD_HOSTNAME_ARGS, mx_hostname_to_nic_id(NULL, &id));
  FAILS(MX_BAD_PARAM_VAL, mx_hostname_to_nic_id(name, NULL));
}

static int own_told;
static mx_return_t own_handler(char *text, mx_return_t code) {
  (void)text;
  own_told = (int)code;
  return MX_BAD_BAD_BAD;
}

/* An error of a call on this endpoint went to its own handler, which had the last word. */
#define ITS_OWN(expected, call)                                                  \
  do {                                                                           \
    CLAIM((call) == MX_BAD_BAD_BAD && own_told == (expected) && told == MX_SUCCESS); \
    own_told = MX_SUCCESS;                                                       \
  } while (0)

static int handled;
static mx_unexp_handler_action_t close_in_handler(void *context, mx_endpoint_addr_t source, uint64_t info,
                                                  uint32_t length, void *data) {
  (void)source, (void)info, (void)length, (void)data;
  ITS_OWN(MX_CLOSE_IN_HANDLER, mx_close_endpoint((mx_endpoint_t)context));
  __atomic_store_n(&handled, 1, __ATOMIC_RELEASE);
  return MX_RECV_FINISHED;
}

/* What is not about an endpoint at first sight, or not only. */
static void heard_by_the_endpoint(mx_endpoint_t ep) {
  mx_endpoint_addr_t own, another;
  mx_request_t request;
  uint32_t number, value;
  void *pointer;
  own_told = MX_SUCCESS;
  ITS_OWN(MX_BAD_INFO_KEY, mx_get_info(ep, (mx_get_info_key_t)99, NULL, 0, &value, sizeof value));
  ITS_OWN(MX_BAD_INFO_VAL, mx_get_info(ep, MX_NIC_COUNT, NULL, 0, NULL, sizeof value));
  OK(mx_get_info(ep, MX_NIC_COUNT, NULL, 0, &value, sizeof value));
  OK(mx_get_endpoint_addr(ep, &own));
  OK(mx_get_endpoint_addr_context(own, &pointer));
  /* An address of the endpoint that had its place before. */
  another = own;
  another.stuff[0] ^= 0x100;
  ITS_OWN(MX_BAD_ENDPOINT, mx_decompose_endpoint_addr2(another, NULL, &number, NULL));
  OK(mx_register_unexp_handler(ep, close_in_handler, ep));
  OK(mx_isend(ep, NULL, 0, own, 0, NULL, &request));
  OK(mx_forget(ep, &request));
  while (!__atomic_load_n(&handled, __ATOMIC_ACQUIRE)) OK(mx_progress(ep));
  OK(mx_register_unexp_handler(ep, NULL, NULL));
}

static void opening(void) {
  mx_endpoint_t ep = NULL;
  mx_param_t params[3];
  uint32_t number;
  FAILS(MX_BOARD_UNKNOWN, mx_open_endpoint(3, 0, KEY_A, NULL, 0, &ep));
  FAILS(MX_BAD_ENDPOINT_ID, mx_open_endpoint(0, 256, KEY_A, NULL, 0, &ep));
  FAILS(MX_BAD_PARAM_LIST, mx_open_endpoint(0, 0, KEY_A, NULL, 1, &ep));
  FAILS(MX_BAD_PARAM_VAL, mx_open_endpoint(0, 0, KEY_A, NULL, 0, NULL));
  memset(params, 0, sizeof params);
  params[0].key = (mx_param_key_t)3;
  FAILS(MX_BAD_PARAM_NAME, mx_open_endpoint(0, 0, KEY_A, params, 1, &ep));
  params[0].key = MX_PARAM_CONTEXT_ID;
  params[0].val.context_id.bits = 17;
  FAILS(MX_BAD_PARAM_VAL, mx_open_endpoint(0, 0, KEY_A, params, 1, &ep));
  params[0].val.context_id.bits = 4;
  params[0].val.context_id.shift = 61;
  FAILS(MX_BAD_PARAM_VAL, mx_open_endpoint(0, 0, KEY_A, params, 1, &ep));
  CLAIM(ep == NULL);

  params[0].val.context_id.shift = 60;
  params[1].key = MX_PARAM_ERROR_HANDLER;
  params[1].val.error_handler = own_handler;
  params[2].key = MX_PARAM_UNEXP_QUEUE_MAX;
  params[2].val.unexp_queue_max = 1 << 20;
  OK(mx_open_endpoint(0, 5, KEY_A, params, 3, &ep));
  CLAIM(number_of(ep) == 5);
  {
    mx_endpoint_t other;
    mx_request_t request;
    char byte;
    mx_segment_t one = segment(&byte, 1);
    FAILS(MX_BUSY, mx_open_endpoint(0, 5, KEY_A, NULL, 0, &other));
    /* Its own handler hears, and has the last word. */
    CLAIM(mx_irecv(ep, &one, 1, 0, 0, NULL, &request) == MX_BAD_BAD_BAD);
    CLAIM(own_told == MX_BAD_MATCHING_FOR_CONTEXT_ID_MASK && told == MX_SUCCESS);
    heard_by_the_endpoint(ep);
    request = post_receive(ep, (uint64_t)3 << 60, (uint64_t)0xf << 60, &byte, 1);
    OK(mx_forget(ep, &request));
  }
  FAILS(MX_BUSY, mx_finalize());
  OK(mx_close_endpoint(ep));
  FAILS(MX_BAD_ENDPOINT, mx_close_endpoint(ep));
  FAILS(MX_BAD_ENDPOINT, mx_wakeup(ep));
  FAILS(MX_BAD_ENDPOINT, mx_progress((mx_endpoint_t)(uintptr_t)0xdeadbeef));
  for (number = 0; number < 20; number++) {
    OK(mx_open_endpoint(0, 5, KEY_A, NULL, 0, &ep));
    OK(mx_close_endpoint(ep));
  }
  OK(mx_open_endpoint(MX_ANY_NIC, MX_ANY_ENDPOINT, KEY_A, NULL, 0, &a));
  OK(mx_open_endpoint(MX_ANY_NIC, MX_ANY_ENDPOINT, KEY_B, NULL, 0, &b));
  FAILS(MX_BAD_PARAM_VAL, mx_get_endpoint_addr(a, NULL));
}

static mx_endpoint_t closing;
static mx_return_t close_it(char *text, mx_return_t code) {
  (void)text;
  OK(mx_close_endpoint(closing));
  return code;
}

/* An endpoint's own handler may close it. */
static void closing_for_an_error(void) {
  mx_param_t param;
  param.key = MX_PARAM_ERROR_HANDLER;
  param.val.error_handler = close_it;
  OK(mx_open_endpoint(0, 6, KEY_A, &param, 1, &closing));
  CLAIM(mx_test(closing, NULL, NULL, NULL) == MX_BAD_REQUEST);
  FAILS(MX_BAD_ENDPOINT, mx_progress(closing));
}

static void connecting(void) {
  mx_endpoint_addr_t addr, wild;
  mx_request_t request = NULL;
  mx_status_t status;
  uint32_t session, other, number, result = 0;
  uint64_t id;
  void *pointer = &id;
  FAILS(MX_BAD_CONNECTION_KEY, mx_connect(a, nic, number_of(b), 99, 10000, &addr));
  FAILS(MX_CONNECTION_FAILED, mx_connect(a, nic, 200, KEY_B, 10000, &addr));
  FAILS(MX_BAD_ENDPOINT_ID, mx_connect(a, nic, 256, KEY_B, 10000, &addr));
  FAILS(MX_NIC_NOT_FOUND, mx_connect(a, (uint64_t)1 << 50, 0, KEY_B, 10000, &addr));
  FAILS(MX_NIC_NOT_FOUND, mx_connect(a, nic ^ 0x10, 0, KEY_B, 50, &addr));
  FAILS(MX_BAD_PARAM_VAL, mx_connect(a, nic, 0, KEY_B, 1, NULL));
  OK(mx_connect(a, nic, number_of(b), KEY_B, MX_INFINITE, &a_to_b));
  OK(mx_connect(a, nic, number_of(b), KEY_B, 10000, &addr));
  CLAIM(memcmp(&addr, &a_to_b, sizeof addr) == 0);

  OK(mx_iconnect(b, nic, number_of(a), KEY_A, 77, &nic, &request));
  CLAIM(request != NULL);
  OK(mx_wait_any(b, 10000, 77, ALL, &status, &result));
  CLAIM(result == 1 && status.code == MX_STATUS_SUCCESS);
  CLAIM(status.match_info == 77 && status.context == &nic);
  b_to_a = status.source;
  OK(mx_iconnect(b, nic, number_of(a), 99, 78, NULL, &request));
  CLAIM(end_of(b, &request).code == MX_STATUS_BAD_KEY);
  OK(mx_iconnect(b, nic, 201, KEY_A, 79, NULL, &request));
  CLAIM(end_of(b, &request).code == MX_STATUS_ENDPOINT_CLOSED);
  OK(mx_iconnect(b, nic, number_of(a), KEY_A, 80, NULL, NULL));
  FAILS(MX_BAD_ENDPOINT_ID, mx_iconnect(b, nic, 256, KEY_A, 0, NULL, &request));
  OK(mx_iconnect(b, nic ^ 0x10, 0, KEY_A, 81, NULL, &request));
  OK(mx_cancel(b, &request, &result));
  CLAIM(result == 1 && request == NULL);

  OK(mx_decompose_endpoint_addr(a_to_b, &id, &number));
  CLAIM(id == nic && number == number_of(b));
  OK(mx_decompose_endpoint_addr2(a_to_b, &id, &number, &session));
  OK(mx_get_endpoint_addr(b, &addr));
  OK(mx_decompose_endpoint_addr2(addr, NULL, NULL, &other));
  CLAIM(session == other && session != 0);
  OK(mx_get_endpoint_addr_context(a_to_b, &pointer));
  CLAIM(pointer == NULL);
  OK(mx_set_endpoint_addr_context(a_to_b, &id));
  OK(mx_get_endpoint_addr_context(a_to_b, &pointer));
  CLAIM(pointer == &id);
  OK(mx_get_endpoint_addr_context(b_to_a, &pointer));
  CLAIM(pointer == NULL);
  memset(&wild, 0, sizeof wild);
  FAILS(MX_BAD_ENDPOINT, mx_decompose_endpoint_addr(wild, &id, &number));
  FAILS(MX_BAD_ENDPOINT, mx_set_endpoint_addr_context(wild, &id));
  FAILS(MX_BAD_ENDPOINT, mx_isend(b, NULL, 0, a_to_b, 0, NULL, &request));
  wild = a_to_b;
  wild.stuff[1] ^= 0x5555;
  OK(mx_isend(a, NULL, 0, wild, 0, NULL, &request));
  CLAIM(end_of(a, &request).code == MX_STATUS_ENDPOINT_UNREACHABLE);
}

static void lists(void) {
  static char byte;
  mx_segment_t many[257], one = segment(NULL, 1), huge[2];
  mx_request_t request = NULL;
  int i;
  for (i = 0; i < 257; i++) many[i] = segment(&byte, 1);
  FAILS(MX_BAD_SEG_LIST, mx_isend(a, NULL, 1, a_to_b, 0, NULL, &request));
  FAILS(MX_BAD_SEG_LIST, mx_irecv(a, NULL, 2, 0, 0, NULL, &request));
  FAILS(MX_BAD_SEG_CNT, mx_isend(a, many, 257, a_to_b, 0, NULL, &request));
  FAILS(MX_BAD_SEG_CNT, mx_irecv(a, many, 257, 0, 0, NULL, &request));
  FAILS(MX_BAD_SEG_MEM, mx_issend(a, &one, 1, a_to_b, 0, NULL, &request));
  huge[0] = huge[1] = segment(&byte, 0xffffffffU);
  FAILS(MX_BAD_SEG_LIST, mx_irecv(a, huge, 2, 0, 0, NULL, &request));
  FAILS(MX_BAD_PARAM_VAL, mx_isend(a, NULL, 0, a_to_b, 0, NULL, NULL));
  FAILS(MX_BAD_PARAM_VAL, mx_irecv(a, NULL, 0, 0, 0, NULL, NULL));
  FAILS(MX_BAD_MATCH_MASK, mx_irecv(a, NULL, 0, 3, 1, NULL, &request));
  FAILS(MX_FAILURE, mx_iput(a, &byte, 1, a_to_b, 0, NULL, &request));
  FAILS(MX_FAILURE, mx_iget(a, &byte, 1, a_to_b, 0, NULL, &request));
  CLAIM(request == NULL);
}

static void requests(void) {
  char in[8], out[] = "message";
  mx_request_t request, copy, other;
  mx_status_t status;
  uint32_t result = 7;
  void *pointer = NULL;
  mx_segment_t one = segment(out, sizeof out);

  request = post_send(a, a_to_b, 5, out, sizeof out);
  OK(mx_ibuffered(a, &request, &result));
  CLAIM(result == 1);
  OK(mx_buffered(a, &request, 10, &result));
  CLAIM(result == 1);
  OK(mx_context(&request, &pointer));
  CLAIM(pointer == out);
  FAILS(MX_CANCEL_NOT_SUPPORTED, mx_cancel(a, &request, &result));
  FAILS(MX_BAD_REQUEST, mx_test(b, &request, &status, &result));
  copy = request;
  OK(mx_test(a, &request, &status, &result));
  CLAIM(result == 1 && request == NULL && status.code == MX_STATUS_SUCCESS);
  CLAIM(status.match_info == 5 && status.msg_length == sizeof out && status.xfer_length == sizeof out);
  CLAIM(status.context == out && memcmp(&status.source, &a_to_b, sizeof a_to_b) == 0);
  FAILS(MX_BAD_REQUEST, mx_test(a, &copy, &status, &result));
  FAILS(MX_BAD_REQUEST, mx_wait(a, &copy, 1, &status, &result));
  FAILS(MX_BAD_REQUEST, mx_cancel(a, &copy, &result));
  FAILS(MX_BAD_REQUEST, mx_forget(a, &copy));
  FAILS(MX_BAD_REQUEST, mx_ibuffered(a, &copy, &result));
  FAILS(MX_BAD_REQUEST, mx_context(&copy, &pointer));
  FAILS(MX_BAD_REQUEST, mx_test(a, &request, &status, &result));
  FAILS(MX_BAD_REQUEST, mx_test(a, NULL, &status, &result));
  FAILS(MX_BAD_REQUEST, mx_context(NULL, &pointer));
  copy = (mx_request_t)(uintptr_t)0x1234;
  FAILS(MX_BAD_REQUEST, mx_wait(a, &copy, 1, &status, &result));
  FAILS(MX_BAD_REQUEST, mx_set_request_timeout(a, copy, 5));

  /* It waits at b, is looked at, and is taken. */
  result = 0;
  OK(mx_probe(b, 10000, 5, ALL, &status, &result));
  CLAIM(result == 1 && status.msg_length == sizeof out && status.match_info == 5);
  CLAIM(memcmp(&status.source, &b_to_a, sizeof b_to_a) == 0);
  OK(mx_iprobe(b, 6, ALL, &status, &result));
  CLAIM(result == 0);
  OK(mx_iprobe(b, 5, ALL, NULL, &result));
  CLAIM(result == 1);
  FAILS(MX_BAD_MATCH_MASK, mx_iprobe(b, 5, 1, &status, &result));
  FAILS(MX_BAD_MATCH_MASK, mx_probe(b, 1, 5, 1, &status, &result));
  FAILS(MX_BAD_MATCH_MASK, mx_test_any(b, 5, 1, &status, &result));
  FAILS(MX_BAD_MATCH_MASK, mx_wait_any(b, 1, 5, 1, &status, &result));
  request = post_receive(b, 5, ALL, in, 4);
  OK(mx_peek(b, 10000, &copy, &result));
  CLAIM(result == 1 && copy == request);
  OK(mx_ipeek(b, &copy, &result));
  CLAIM(result == 1 && copy == request);
  OK(mx_cancel(b, &request, &result));
  CLAIM(result == 0 && request == copy);
  FAILS(MX_BAD_REQUEST, mx_ibuffered(b, &request, &result));
  status = end_of(b, &request);
  CLAIM(status.code == MX_STATUS_TRUNCATED && status.msg_length == sizeof out && status.xfer_length == 4);
  CLAIM(memcmp(in, out, 4) == 0);

  /* Nothing comes: waits end in time, with success and nothing. */
  request = post_receive(b, 6, ALL, in, sizeof in);
  status.code = MX_STATUS_REJECTED;
  result = 7;
  OK(mx_test(b, &request, &status, &result));
  CLAIM(result == 0 && status.code == MX_STATUS_REJECTED);
  result = 7;
  OK(mx_wait(b, &request, 5, &status, &result));
  CLAIM(result == 0 && request != NULL);
  result = 7;
  OK(mx_wait_any(b, 5, 0, 0, &status, &result));
  CLAIM(result == 0);
  result = 7;
  OK(mx_peek(b, 5, &copy, &result));
  CLAIM(result == 0);
  result = 7;
  OK(mx_probe(b, 5, 0, 0, &status, &result));
  CLAIM(result == 0 && status.code == MX_STATUS_REJECTED);
  OK(mx_cancel(b, &request, &result));
  CLAIM(result == 1 && request == NULL);
  OK(mx_test_any(b, 0, 0, &status, &result));
  CLAIM(result == 0);

  /* A synchronous send waits for its match; by its timeout it ends without. */
  OK(mx_issend(a, &one, 1, a_to_b, 8, NULL, &request));
  OK(mx_wait(a, &request, 20, &status, &result));
  CLAIM(result == 0);
  OK(mx_ibuffered(a, &request, &result));
  CLAIM(result == 1);
  other = post_receive(b, 8, ALL, in, sizeof in);
  status = end_of(b, &other);
  CLAIM(status.code == MX_STATUS_SUCCESS && strcmp(in, "message") == 0);
  CLAIM(end_of(a, &request).code == MX_STATUS_SUCCESS);
  request = post_receive(b, 9, ALL, in, sizeof in);
  OK(mx_set_request_timeout(b, request, 5));
  CLAIM(end_of(b, &request).code == MX_STATUS_TIMEOUT);
  OK(mx_set_request_timeout(a, NULL, 30));
  OK(mx_issend(a, &one, 1, a_to_b, 10, NULL, &request));
  CLAIM(end_of(a, &request).code == MX_STATUS_TIMEOUT);
  OK(mx_set_request_timeout(a, NULL, 0));
  OK(mx_connect(a, nic, number_of(b), KEY_B, 10000, &a_to_b));
  OK(mx_connect(b, nic, number_of(a), KEY_A, 10000, &b_to_a));

  /* A forgotten one is heard of no more, though its message comes. */
  request = post_receive(b, 11, ALL, in, sizeof in);
  OK(mx_forget(b, &request));
  CLAIM(request == NULL);
  request = post_send(a, a_to_b, 11, out, sizeof out);
  OK(mx_forget(a, &request));
  request = post_send(a, a_to_b, 12, out, sizeof out);
  OK(mx_wait_any(a, 10000, 12, ALL, &status, &result));
  CLAIM(result == 1 && status.match_info == 12);
  request = post_receive(b, 12, ALL, in, sizeof in);
  status = end_of(b, &request);
  OK(mx_ipeek(b, &copy, &result));
  CLAIM(result == 0);
}

/* The memory of a send that is pending is the program's again, up to 32 KiB. */
static void buffered(void) {
  static const uint32_t lengths[] = {0, 1, 128, 129, 4096, 32768};
  static unsigned char in[40000], out[40000];
  mx_request_t send, receive;
  mx_segment_t one, two[2];
  uint32_t i, result;
  for (i = 0; i < 2 * sizeof lengths / sizeof *lengths; i++) {
    uint32_t length = lengths[i / 2];
    fill(out, length, i);
    two[0] = segment(out, length / 2);
    two[1] = segment(out + length / 2, length - length / 2);
    one = segment(out, length);
    OK(mx_issend(a, i % 2 ? two : &one, 1 + i % 2, a_to_b, 20, NULL, &send));
    result = 7;
    OK(mx_ibuffered(a, &send, &result));
    CLAIM(result == 1);
    memset(out, 0, sizeof out);
    result = 7;
    OK(mx_test(a, &send, NULL, &result));
    CLAIM(result == 0);
    OK(mx_buffered(a, &send, 10000, &result));
    CLAIM(result == 1);
    receive = post_receive(b, 20, ALL, in, sizeof in);
    CLAIM(end_of(b, &receive).xfer_length == length && is_filled(in, length, i));
    CLAIM(end_of(a, &send).code == MX_STATUS_SUCCESS);
  }
  one = segment(out, 32769);
  OK(mx_issend(a, &one, 1, a_to_b, 20, NULL, &send));
  OK(mx_ibuffered(a, &send, &result));
  CLAIM(result == 0);
  OK(mx_buffered(a, &send, 5, &result));
  CLAIM(result == 0);
  receive = post_receive(b, 20, ALL, in, sizeof in);
  CLAIM(end_of(b, &receive).code == MX_STATUS_SUCCESS);
  OK(mx_buffered(a, &send, 10000, &result));
  CLAIM(result == 1);
  CLAIM(end_of(a, &send).code == MX_STATUS_SUCCESS);
}

static void myself(void) {
  char in[4] = "", out[4] = "abc";
  mx_endpoint_addr_t self, own;
  mx_request_t send, receive;
  OK(mx_connect(a, nic, number_of(a), KEY_A, 10000, &self));
  receive = post_receive(a, 1, ALL, in, sizeof in);
  send = post_send(a, self, 1, out, sizeof out);
  CLAIM(end_of(a, &receive).code == MX_STATUS_SUCCESS && strcmp(in, "abc") == 0);
  CLAIM(end_of(a, &send).code == MX_STATUS_SUCCESS);
  /* The own address will do, connected or not. */
  OK(mx_get_endpoint_addr(b, &own));
  receive = post_receive(b, 2, ALL, in, sizeof in);
  send = post_send(b, own, 2, out, sizeof out);
  CLAIM(end_of(b, &receive).code == MX_STATUS_SUCCESS);
  CLAIM(end_of(b, &send).code == MX_STATUS_SUCCESS);
}

struct seen {
  int calls;
  uint32_t length;
  int had_data;
};

static mx_unexp_handler_action_t take(void *context, mx_endpoint_addr_t source, uint64_t info, uint32_t length,
                                      void *data) {
  struct seen *seen = context;
  mx_status_t status;
  mx_request_t request;
  uint32_t result = 7;
  static unsigned char room[100000];
  seen->calls++;
  seen->length = length;
  seen->had_data = data != NULL;
  CLAIM(memcmp(&source, &b_to_a, sizeof source) == 0);
  FAILS(MX_CLOSE_IN_HANDLER, mx_close_endpoint(b));
  FAILS(MX_BUSY, mx_connect(b, nic, number_of(a), KEY_A, 0, &source));
  OK(mx_wait_any(b, MX_INFINITE, 0, 0, &status, &result));
  CLAIM(result == 0);
  if (info == 1) {
    CLAIM(data != NULL && length == 8 && memcmp(data, "consumed", 8) == 0);
    return MX_RECV_FINISHED;
  }
  if (info == 6) return MX_RECV_FINISHED; /* synchronous: its data are still with the sender, who sees it taken */
  if (info == 2) { /* posts the receive for it, and one that the next message must not take from it */
    request = post_receive(b, 2, ALL, room, sizeof room);
    OK(mx_test(b, &request, &status, &result));
    CLAIM(result == 0);
  }
  return MX_RECV_CONTINUE;
}

static void count(void *context, uint64_t info, int length) {
  if (info == 4 && length == 3) ++*(int *)context;
}

static void handlers(void) {
  static unsigned char large[100000];
  struct seen seen = {0, 0, 0};
  mx_request_t request;
  mx_status_t status;
  uint32_t result;
  char text[] = "consumed";
  int told_of = 0;
  mx_segment_t one = segment(text, 8);
  fill(large, sizeof large, 3);
  OK(mx_register_unexp_handler(b, take, &seen));
  request = post_send(a, a_to_b, 1, text, 8);
  while (seen.calls < 1) OK(mx_progress(b));
  CLAIM(seen.had_data && seen.length == 8);
  CLAIM(end_of(a, &request).code == MX_STATUS_SUCCESS);
  OK(mx_issend(a, &one, 1, a_to_b, 6, NULL, &request));
  while (seen.calls < 2) OK(mx_progress(b));
  CLAIM(end_of(a, &request).code == MX_STATUS_SUCCESS);
  OK(mx_iprobe(b, 1, ALL, &status, &result));
  CLAIM(result == 0);
  request = post_send(a, a_to_b, 2, large, sizeof large);
  OK(mx_wait_any(b, 10000, 2, ALL, &status, &result));
  CLAIM(result == 1 && status.xfer_length == sizeof large && is_filled(status.context, sizeof large, 3));
  CLAIM(seen.calls == 3 && !seen.had_data);
  CLAIM(end_of(a, &request).code == MX_STATUS_SUCCESS);
  request = post_send(a, a_to_b, 3, text, 3);
  OK(mx_probe(b, 10000, 3, ALL, &status, &result));
  CLAIM(result == 1 && seen.calls == 4);
  end_of(a, &request);
  OK(mx_register_unexp_callback(b, count, &told_of));
  request = post_send(a, a_to_b, 4, text, 3);
  end_of(a, &request);
  OK(mx_probe(b, 10000, 4, ALL, &status, &result));
  CLAIM(told_of == 1);
  OK(mx_register_unexp_callback(b, NULL, NULL));
  OK(mx_register_unexp_handler(b, NULL, NULL));

  /* Nothing arrives, and no handler runs, while it is forbidden. */
  OK(mx_register_unexp_handler(b, take, &seen));
  OK(mx_disable_progression(b));
  request = post_send(a, a_to_b, 5, text, 3);
  end_of(a, &request);
  OK(mx_probe(b, 20, 5, ALL, &status, &result));
  CLAIM(result == 0 && seen.calls == 4);
  OK(mx_reenable_progression(b));
  OK(mx_probe(b, 10000, 5, ALL, &status, &result));
  CLAIM(result == 1 && seen.calls == 5);
  OK(mx_register_unexp_handler(b, NULL, NULL));
}

static void *sleeper(void *which) {
  mx_status_t status;
  mx_request_t request;
  uint32_t result = 7;
  char in[1];
  switch (*(int *)which) {
    case 0: OK(mx_wait_any(a, MX_INFINITE, 999, ALL, &status, &result)); break;
    case 1: OK(mx_peek(a, MX_INFINITE, &request, &result)); break;
    case 2: OK(mx_probe(a, MX_INFINITE, 999, ALL, &status, &result)); break;
    default:
      request = post_receive(a, 999, ALL, in, 1);
      OK(mx_wait(a, &request, MX_INFINITE, &status, &result));
      OK(mx_forget(a, &request));
  }
  CLAIM(result == 0);
  __atomic_store_n((int *)which, -1, __ATOMIC_RELEASE);
  return NULL;
}

static void wakeups(void) {
  pthread_t threads[4];
  int which[4] = {0, 1, 2, 3};
  int i, left = 4;
  for (i = 0; i < 4; i++) CLAIM(pthread_create(&threads[i], NULL, sleeper, &which[i]) == 0);
  while (left > 0) {
    OK(mx_wakeup(a));
    usleep(1000);
    for (left = 0, i = 0; i < 4; i++) left += __atomic_load_n(&which[i], __ATOMIC_ACQUIRE) != -1;
  }
  for (i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

static void informations(void) {
  uint32_t board = 0, absent = 9, value = 0, count = 0, i;
  uint64_t ids[2];
  char text[MX_MAX_STR_LEN];
  char *labels;
  uint32_t *values;
  OK(mx_get_info(NULL, MX_NIC_COUNT, NULL, 0, &value, sizeof value));
  CLAIM(value == 1);
  OK(mx_get_info(NULL, MX_NIC_IDS, NULL, 0, ids, sizeof ids));
  CLAIM(ids[0] == nic && ids[1] == 0);
  FAILS(MX_BAD_INFO_LENGTH, mx_get_info(NULL, MX_NIC_IDS, NULL, 0, ids, 8));
  FAILS(MX_BAD_INFO_VAL, mx_get_info(NULL, MX_NIC_IDS, NULL, 0, NULL, 16));
  FAILS(MX_BAD_INFO_KEY, mx_get_info(NULL, (mx_get_info_key_t)99, NULL, 0, &value, sizeof value));
  FAILS(MX_BOARD_UNKNOWN, mx_get_info(NULL, MX_LINE_SPEED, &absent, sizeof absent, &value, sizeof value));
  FAILS(MX_BAD_INFO_LENGTH, mx_get_info(NULL, MX_LINE_SPEED, &board, 2, &value, sizeof value));
  FAILS(MX_BAD_INFO_VAL, mx_get_info(NULL, MX_LINE_SPEED, NULL, 0, &value, sizeof value));
  FAILS(MX_BAD_ENDPOINT, mx_get_info((mx_endpoint_t)(uintptr_t)77, MX_NIC_COUNT, NULL, 0, &value, sizeof value));
  OK(mx_get_info(a, MX_MAX_NATIVE_ENDPOINTS, NULL, 0, &value, sizeof value));
  CLAIM(value > 0 && value <= 256);
  OK(mx_get_info(a, MX_NATIVE_REQUESTS, NULL, 0, &value, sizeof value));
  CLAIM(value > 0);
  OK(mx_get_info(a, MX_PIO_SEND_MAX, NULL, 0, &value, sizeof value));
  CLAIM(value == 128);
  OK(mx_get_info(a, MX_COPY_SEND_MAX, NULL, 0, &value, sizeof value));
  CLAIM(value == 32768);
  OK(mx_get_info(a, MX_LINE_SPEED, NULL, 0, &value, sizeof value));
  CLAIM(value == MX_SPEED_10G);
  OK(mx_get_info(NULL, MX_NET_TYPE, &board, sizeof board, &value, sizeof value));
  CLAIM(value == MX_NET_ETHER);
  OK(mx_get_info(NULL, MX_PORT_COUNT, &board, sizeof board, &value, sizeof value));
  CLAIM(value == 1);
  OK(mx_get_info(NULL, MX_NUMA_NODE, &board, sizeof board, &value, sizeof value));
  OK(mx_get_info(NULL, MX_PRODUCT_CODE, &board, sizeof board, text, sizeof text));
  CLAIM(strcmp(text, "MyriXen") == 0);
  OK(mx_get_info(NULL, MX_PART_NUMBER, &board, sizeof board, text, sizeof text));
  OK(mx_get_info(NULL, MX_SERIAL_NUMBER, &board, sizeof board, text, sizeof text));
  FAILS(MX_BAD_INFO_LENGTH, mx_get_info(NULL, MX_PRODUCT_CODE, &board, sizeof board, text, 3));
  OK(mx_get_info(NULL, MX_COUNTERS_COUNT, &board, sizeof board, &count, sizeof count));
  CLAIM(count > 0);
  labels = malloc(count * MX_MAX_STR_LEN);
  values = malloc(count * sizeof *values);
  OK(mx_get_info(NULL, MX_COUNTERS_LABELS, &board, sizeof board, labels, count * MX_MAX_STR_LEN));
  OK(mx_get_info(NULL, MX_COUNTERS_VALUES, &board, sizeof board, values, count * (uint32_t)sizeof *values));
  for (i = 0; i < count; i++) CLAIM(strlen(labels + i * MX_MAX_STR_LEN) > 0);
  CLAIM(strcmp(labels, "Messages sent") == 0 && values[0] > 0);
  free(labels);
  free(values);
}

static void internals(void) {
  mx_endpt_handle_t handle = MX__INVALID_HANDLE;
  mx_mapper_state_t state;
  OK(mx_open_board(0, &handle));
  CLAIM(handle != MX__INVALID_HANDLE);
  OK(mx__get_mapper_state(handle, &state));
  CLAIM(state.board_number == 0 && state.mapper_mac[0] == 2 && state.network_configured);
  FAILS(MX_BOARD_UNKNOWN, mx_open_board(5, &handle));
  FAILS(MX_BOARD_UNKNOWN, mx_open_board(-1, &handle));
  FAILS(MX_BAD_PARAM_VAL, mx_open_board(0, NULL));
  FAILS(MX_BAD_PARAM_VAL, mx__get_mapper_state(-1, &state));
  FAILS(MX_BAD_PARAM_VAL, mx__get_mapper_state(0, NULL));
  CLAIM(mx__regcache_clean(&state, sizeof state) == 0);
}

/* Every pending request of a peer ends when it is broken off with, and when its endpoint is closed and opened again. */
static void partings(void) {
  static char large[100000];
  mx_request_t send, again;
  mx_endpoint_t c;
  mx_endpoint_addr_t to;
  mx_status_t status;
  uint32_t session = 0, number;
  void *pointer = NULL;
  OK(mx_set_endpoint_addr_context(a_to_b, &session));
  send = post_send(a, a_to_b, 1, large, sizeof large);
  OK(mx_disconnect(a, a_to_b));
  CLAIM(end_of(a, &send).code == MX_STATUS_ENDPOINT_UNREACHABLE);
  send = post_send(a, a_to_b, 1, large, 1);
  CLAIM(end_of(a, &send).code == MX_STATUS_ENDPOINT_UNREACHABLE);
  OK(mx_decompose_endpoint_addr2(a_to_b, NULL, NULL, &session));
  CLAIM(session == 0);
  /* The program's pointer stays. */
  OK(mx_get_endpoint_addr_context(a_to_b, &pointer));
  CLAIM(pointer == &session);

  OK(mx_open_endpoint(0, MX_ANY_ENDPOINT, KEY_B, NULL, 0, &c));
  number = number_of(c);
  OK(mx_connect(a, nic, number, KEY_B, 10000, &to));
  send = post_send(a, to, 1, large, sizeof large);
  OK(mx_close_endpoint(c));
  status = end_of(a, &send);
  CLAIM(status.code == MX_STATUS_ENDPOINT_CLOSED || status.code == MX_STATUS_ENDPOINT_UNREACHABLE);
  CLAIM(status.xfer_length == 0 && status.msg_length == sizeof large);
  OK(mx_open_endpoint(0, number, KEY_B, NULL, 0, &c));
  again = post_send(a, to, 1, large, sizeof large);
  CLAIM(end_of(a, &again).code != MX_STATUS_SUCCESS);
  OK(mx_close_endpoint(c));
}

int main(int argc, char **argv) {
  CLAIM(argc == 2);
  board_name = argv[1];
  beginnings();
  texts();
  names();
  opening();
  closing_for_an_error();
  connecting();
  lists();
  requests();
  buffered();
  myself();
  handlers();
  wakeups();
  informations();
  internals();
  partings();
  OK(mx_close_endpoint(a));
  OK(mx_close_endpoint(b));
  OK(mx_finalize());
  FAILS(MX_NOT_INITIALIZED, mx_finalize());
  printf("calls: all as they should be\n");
  return 0;
}
