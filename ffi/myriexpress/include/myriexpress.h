/*
 * The MX (Myrinet Express) programming interface, level 0x301, as MyriXen has it. Link with -lmyriexpress.
 *
 * What each call does, and where it differs from Myricom's library: docs/mx.md. C89 (with 64-bit integers), C11, C++.
 *
 * Apache-2.0 OR MIT.
 */
#ifndef MYRIEXPRESS_H
#define MYRIEXPRESS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The level of the interface: the library takes programs of any minor level of major level 3. */
#define MX_API 0x301

/* Sizes of texts, their ends included. */
#define MX_MAX_HOSTNAME_LEN 80
#define MX_MAX_STR_LEN 128
/* The most segments of a message. */
#define MX_MAX_SEGMENTS 256
#define MX_SIZEOF_ADDR 16
/* The widest context id, in bits. */
#define MX_CONTEXT_ID_BITS_MAX 16

/* The first board; any free endpoint number; no limit to a wait. */
#define MX_ANY_NIC 0xffffffffU
#define MX_ANY_ENDPOINT 0xffffffffU
#define MX_INFINITE 0

/* Every bit of the match information counts. */
#define MX_MATCH_MASK_NONE (~(uint64_t)0)

/* The halves of a 64-bit number, for printing. */
#define MX_U32(x) ((uint32_t)((uint64_t)(x) >> 32))
#define MX_L32(x) ((uint32_t)((uint64_t)(x) & 0xffffffffU))

/* mx_get_info knows about networks and speeds. */
#define MX_HAS_NET_TYPE 1

/* An endpoint of this process; NULL is none. */
typedef struct mx_endpoint *mx_endpoint_t;
/* A request in progress; NULL is none. */
typedef union mx_request *mx_request_t;

/* A remote endpoint, as one endpoint of this process knows it. To be copied, not to be looked into. */
typedef struct {
  uint64_t stuff[2];
} mx_endpoint_addr_t;

/* A piece of memory. */
typedef struct {
  void *segment_ptr;
  uint32_t segment_length;
} mx_segment_t;

/* What calls return. */
typedef enum mx_return_code {
  MX_SUCCESS = 0,
  MX_BAD_BAD_BAD = 1,
  MX_FAILURE = 2,
  MX_ALREADY_INITIALIZED = 3,
  MX_NOT_INITIALIZED = 4,
  MX_NO_DEV = 5,
  MX_NO_DRIVER = 6,
  MX_NO_PERM = 7,
  MX_BOARD_UNKNOWN = 8,
  MX_BAD_ENDPOINT = 9,
  MX_BAD_SEG_LIST = 10,
  MX_BAD_SEG_MEM = 11,
  MX_BAD_SEG_CNT = 12,
  MX_BAD_REQUEST = 13,
  MX_BAD_MATCH_MASK = 14,
  MX_NO_RESOURCES = 15,
  MX_BAD_ADDR_LIST = 16,
  MX_BAD_ADDR_COUNT = 17,
  MX_BAD_ROOT = 18,
  MX_NOT_COMPLETED = 19,
  MX_BUSY = 20,
  MX_BAD_INFO_KEY = 21,
  MX_BAD_INFO_VAL = 22,
  MX_BAD_NIC = 23,
  MX_BAD_PARAM_LIST = 24,
  MX_BAD_PARAM_NAME = 25,
  MX_BAD_PARAM_VAL = 26,
  MX_BAD_HOSTNAME_ARGS = 27,
  MX_HOST_NOT_FOUND = 28,
  MX_REQUEST_PENDING = 29,
  MX_TIMEOUT = 30,
  MX_NO_MATCH = 31,
  MX_BAD_ENDPOINT_ID = 32,
  MX_CONNECTION_FAILED = 33,
  MX_BAD_CONNECTION_KEY = 34,
  MX_BAD_INFO_LENGTH = 35,
  MX_NIC_NOT_FOUND = 36,
  MX_BAD_KERNEL_VERSION = 37,
  MX_BAD_LIB_VERSION = 38,
  MX_NIC_DEAD = 39,
  MX_CANCEL_NOT_SUPPORTED = 40,
  MX_CLOSE_IN_HANDLER = 41,
  MX_BAD_MATCHING_FOR_CONTEXT_ID_MASK = 42,
  MX_NOT_SUPPORTED_WITH_CONTEXT_ID = 43
} mx_return_t;

/* How requests end. */
typedef enum mx_status_code {
  MX_STATUS_SUCCESS = 0,
  MX_STATUS_PENDING = 1,
  MX_STATUS_BUFFERED = 2,
  MX_STATUS_REJECTED = 3,
  MX_STATUS_TIMEOUT = 4,
  MX_STATUS_TRUNCATED = 5,
  MX_STATUS_CANCELLED = 6,
  MX_STATUS_ENDPOINT_UNKNOWN = 7,
  MX_STATUS_ENDPOINT_CLOSED = 8,
  MX_STATUS_ENDPOINT_UNREACHABLE = 9,
  MX_STATUS_BAD_SESSION = 10,
  MX_STATUS_BAD_KEY = 11,
  MX_STATUS_BAD_ENDPOINT = 12,
  MX_STATUS_BAD_RDMAWIN = 13,
  MX_STATUS_ABORTED = 14,
  MX_STATUS_EVENTQ_FULL = 15,
  MX_STATUS_NO_RESOURCES = 16
} mx_status_code_t;

/* The end of a request. */
typedef struct {
  mx_status_code_t code;
  mx_endpoint_addr_t source; /* who sent; of a send or connect: who it was to */
  uint64_t match_info;
  uint32_t msg_length;  /* bytes sent */
  uint32_t xfer_length; /* bytes transferred */
  void *context;        /* given when the request was made */
} mx_status_t;

/* Told of each error. What it returns, the call returns. */
typedef mx_return_t (*mx_error_handler_t)(char *str, mx_return_t ret);

/* The two that the library has: prints and exits (the default); returns the code. */
extern const mx_error_handler_t MX_ERRORS_ARE_FATAL;
extern const mx_error_handler_t MX_ERRORS_RETURN;

/* Settings of an endpoint. */
typedef enum mx_param_key {
  MX_PARAM_ERROR_HANDLER = 0,
  MX_PARAM_UNEXP_QUEUE_MAX = 1, /* bytes */
  MX_PARAM_CONTEXT_ID = 2
} mx_param_key_t;

typedef struct {
  mx_param_key_t key;
  union {
    mx_error_handler_t error_handler;
    uint32_t unexp_queue_max;
    struct {
      uint8_t bits;
      uint8_t shift;
    } context_id;
  } val;
} mx_param_t;

/* What mx_get_info tells. */
typedef enum mx_get_info_key {
  MX_NIC_COUNT = 1,
  MX_NIC_IDS = 2,
  MX_MAX_NATIVE_ENDPOINTS = 3,
  MX_NATIVE_REQUESTS = 4,
  MX_COUNTERS_COUNT = 5,
  MX_COUNTERS_LABELS = 6,
  MX_COUNTERS_VALUES = 7,
  MX_PRODUCT_CODE = 8,
  MX_PART_NUMBER = 9,
  MX_SERIAL_NUMBER = 10,
  MX_PORT_COUNT = 11,
  MX_PIO_SEND_MAX = 12,
  MX_COPY_SEND_MAX = 13,
  MX_NUMA_NODE = 14,
  MX_NET_TYPE = 15,
  MX_LINE_SPEED = 16
} mx_get_info_key_t;

typedef enum mx_net_type { MX_NET_MYRI = 0, MX_NET_ETHER = 1 } mx_net_type_t;
typedef enum mx_line_speed { MX_SPEED_2G = 0, MX_SPEED_10G = 1, MX_SPEED_OPEN_MX = 2 } mx_line_speed_t;

/* The library */

#define mx_init() mx__init_api(MX_API)
mx_return_t mx__init_api(int api);
mx_return_t mx_finalize(void);
mx_error_handler_t mx_set_error_handler(mx_error_handler_t handler);
const char *mx_strerror(mx_return_t code);
const char *mx_strstatus(mx_status_code_t code);
mx_return_t mx_get_info(mx_endpoint_t ep, mx_get_info_key_t key, void *in_val, uint32_t in_len, void *out_val,
                        uint32_t out_len);

/* Boards */

mx_return_t mx_hostname_to_nic_id(char *hostname, uint64_t *nic_id);
mx_return_t mx_nic_id_to_hostname(uint64_t nic_id, char *hostname);
mx_return_t mx_board_number_to_nic_id(uint32_t board_number, uint64_t *nic_id);
mx_return_t mx_nic_id_to_board_number(uint64_t nic_id, uint32_t *board_number);

/* Endpoints */

mx_return_t mx_open_endpoint(uint32_t board_number, uint32_t endpoint_id, uint32_t key, mx_param_t *params_array,
                             uint32_t params_count, mx_endpoint_t *endpoint);
mx_return_t mx_close_endpoint(mx_endpoint_t endpoint);
mx_return_t mx_wakeup(mx_endpoint_t endpoint);
mx_return_t mx_get_endpoint_addr(mx_endpoint_t endpoint, mx_endpoint_addr_t *endpoint_addr);
mx_return_t mx_decompose_endpoint_addr(mx_endpoint_addr_t endpoint_addr, uint64_t *nic_id, uint32_t *endpoint_id);
mx_return_t mx_connect(mx_endpoint_t endpoint, uint64_t nic_id, uint32_t endpoint_id, uint32_t key, uint32_t timeout,
                       mx_endpoint_addr_t *addr);

/* Messages */

mx_return_t mx_isend(mx_endpoint_t endpoint, mx_segment_t *segments_list, uint32_t segments_count,
                     mx_endpoint_addr_t dest_endpoint, uint64_t match_info, void *context, mx_request_t *request);
mx_return_t mx_issend(mx_endpoint_t endpoint, mx_segment_t *segments_list, uint32_t segments_count,
                      mx_endpoint_addr_t dest_endpoint, uint64_t match_info, void *context, mx_request_t *request);
mx_return_t mx_irecv(mx_endpoint_t endpoint, mx_segment_t *segments_list, uint32_t segments_count,
                     uint64_t match_info, uint64_t match_mask, void *context, mx_request_t *request);
mx_return_t mx_cancel(mx_endpoint_t endpoint, mx_request_t *request, uint32_t *result);
mx_return_t mx_iput(mx_endpoint_t endpoint, void *local_addr, uint32_t length, mx_endpoint_addr_t dest_endpoint,
                    uint64_t remote_addr, void *context, mx_request_t *request);
mx_return_t mx_iget(mx_endpoint_t endpoint, void *local_addr, uint32_t length, mx_endpoint_addr_t dest_endpoint,
                    uint64_t remote_addr, void *context, mx_request_t *request);

/* Completion. Timeouts are in milliseconds; MX_INFINITE is for ever. */

mx_return_t mx_test(mx_endpoint_t endpoint, mx_request_t *request, mx_status_t *status, uint32_t *result);
mx_return_t mx_wait(mx_endpoint_t endpoint, mx_request_t *request, uint32_t timeout, mx_status_t *status,
                    uint32_t *result);
mx_return_t mx_test_any(mx_endpoint_t endpoint, uint64_t match_info, uint64_t match_mask, mx_status_t *status,
                        uint32_t *result);
mx_return_t mx_wait_any(mx_endpoint_t endpoint, uint32_t timeout, uint64_t match_info, uint64_t match_mask,
                        mx_status_t *status, uint32_t *result);
mx_return_t mx_ipeek(mx_endpoint_t endpoint, mx_request_t *request, uint32_t *result);
mx_return_t mx_peek(mx_endpoint_t endpoint, uint32_t timeout, mx_request_t *request, uint32_t *result);
mx_return_t mx_iprobe(mx_endpoint_t endpoint, uint64_t match_info, uint64_t match_mask, mx_status_t *status,
                      uint32_t *result);
mx_return_t mx_probe(mx_endpoint_t endpoint, uint32_t timeout, uint64_t match_info, uint64_t match_mask,
                     mx_status_t *status, uint32_t *result);
mx_return_t mx_ibuffered(mx_endpoint_t endpoint, mx_request_t *request, uint32_t *result);
mx_return_t mx_buffered(mx_endpoint_t endpoint, mx_request_t *request, uint32_t timeout, uint32_t *result);
mx_return_t mx_context(mx_request_t *request, void **context);

/* Progress */

mx_return_t mx_disable_progression(mx_endpoint_t endpoint);
mx_return_t mx_reenable_progression(mx_endpoint_t endpoint);

/* The older way to hear of unexpected messages. */
typedef void (*mx_matching_callback_t)(void *context, uint64_t match_value, int length);
mx_return_t mx_register_unexp_callback(mx_endpoint_t endpoint, mx_matching_callback_t callback, void *context);

/* For programs that manage their own memory: nothing is cached, so nothing has to be cleaned. Returns 0. */
int mx__regcache_clean(void *ptr, unsigned long length);

#ifdef __cplusplus
}
#endif

/* The layout that programs are compiled for is part of the interface. */
#if defined(__GNUC__) || defined(__clang__)
#define MX__IS(name, claim) typedef char mx__is_##name[(claim) ? 1 : -1] __attribute__((unused))
MX__IS(handles, sizeof(mx_endpoint_t) == 8 && sizeof(mx_request_t) == 8);
MX__IS(functions, sizeof(mx_error_handler_t) == 8 && sizeof(mx_matching_callback_t) == 8);
MX__IS(addr, sizeof(mx_endpoint_addr_t) == MX_SIZEOF_ADDR);
MX__IS(segment, sizeof(mx_segment_t) == 16 && __builtin_offsetof(mx_segment_t, segment_ptr) == 0 &&
                    __builtin_offsetof(mx_segment_t, segment_length) == 8);
MX__IS(param, sizeof(mx_param_t) == 16 && __builtin_offsetof(mx_param_t, key) == 0 &&
                  __builtin_offsetof(mx_param_t, val) == 8 &&
                  __builtin_offsetof(mx_param_t, val.context_id.bits) == 8 &&
                  __builtin_offsetof(mx_param_t, val.context_id.shift) == 9);
MX__IS(status, sizeof(mx_status_t) == 48 && __builtin_offsetof(mx_status_t, code) == 0 && __builtin_offsetof(mx_status_t, source) == 8 &&
                   __builtin_offsetof(mx_status_t, match_info) == 24 &&
                   __builtin_offsetof(mx_status_t, msg_length) == 32 &&
                   __builtin_offsetof(mx_status_t, xfer_length) == 36 &&
                   __builtin_offsetof(mx_status_t, context) == 40);
MX__IS(codes, sizeof(mx_return_t) == 4 && sizeof(mx_status_code_t) == 4);
MX__IS(keys, sizeof(mx_param_key_t) == 4 && sizeof(mx_get_info_key_t) == 4);
MX__IS(speeds, sizeof(mx_net_type_t) == 4 && sizeof(mx_line_speed_t) == 4);
#endif

#endif
