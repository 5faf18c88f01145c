/*
 * Extensions of the MX programming interface: connecting without waiting, handlers of unexpected messages, and more.
 *
 * Apache-2.0 OR MIT.
 */
#ifndef MX_EXTENSIONS_H
#define MX_EXTENSIONS_H

#include "myriexpress.h"

#ifdef __cplusplus
extern "C" {
#endif

/* mx_iconnect takes match information. */
#define MX_HAS_ICONNECT_V2 1

/* Its request's status has the new address, the match information and the context. */
mx_return_t mx_iconnect(mx_endpoint_t endpoint, uint64_t nic_id, uint32_t endpoint_id, uint32_t key,
                        uint64_t match_info, void *context, mx_request_t *request);
mx_return_t mx_disconnect(mx_endpoint_t endpoint, mx_endpoint_addr_t addr);
mx_return_t mx_decompose_endpoint_addr2(mx_endpoint_addr_t endpoint_addr, uint64_t *nic_id, uint32_t *endpoint_id,
                                        uint32_t *session_id);
/* A pointer of the program's, kept with a peer; NULL until it is set. */
mx_return_t mx_set_endpoint_addr_context(mx_endpoint_addr_t endpoint_addr, void *context);
mx_return_t mx_get_endpoint_addr_context(mx_endpoint_addr_t endpoint_addr, void **context);
/* In milliseconds; without a request: of sends and connects from now on. */
mx_return_t mx_set_request_timeout(mx_endpoint_t endpoint, mx_request_t request, uint32_t milliseconds);
mx_return_t mx_forget(mx_endpoint_t endpoint, mx_request_t *request);
mx_return_t mx_progress(mx_endpoint_t endpoint);

/* What a handler says of a message: match it again; it has been dealt with. */
typedef enum mx_unexp_handler_action { MX_RECV_CONTINUE = 0, MX_RECV_FINISHED = 1 } mx_unexp_handler_action_t;

/* Called with each message that no receive waits for. The data, if they are there, are so during the call only. */
typedef mx_unexp_handler_action_t (*mx_unexp_handler_t)(void *context, mx_endpoint_addr_t source,
                                                        uint64_t match_value, uint32_t length,
                                                        void *data_if_available);
mx_return_t mx_register_unexp_handler(mx_endpoint_t endpoint, mx_unexp_handler_t handler, void *context);

/*
 * Not MX's: a key of mx_get_info, for a board's number. Gives 257 pairs of uint32_t: each open endpoint of the board, of all processes, with the
 * id of its process as the back end knows it (0: not known); then pairs of UINT32_MAX. None where the back end does not tell.
 */
#define MX_MYRIXEN_ENDPOINTS ((mx_get_info_key_t)0x4d590001)

#ifdef __cplusplus
}
#endif

#if defined(__GNUC__) || defined(__clang__)
MX__IS(unexpected, sizeof(mx_unexp_handler_action_t) == 4 && sizeof(mx_unexp_handler_t) == 8);
#endif

#endif
