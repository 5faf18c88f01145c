/*
 * Loaded before libmyriexpress, this changes one byte of each message of 100 to 30000 bytes that a program sends: whoever
 * says that it verifies what arrives has to notice.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

#include "myriexpress.h"

typedef mx_return_t (*isend_t)(mx_endpoint_t, mx_segment_t *, uint32_t, mx_endpoint_addr_t, uint64_t, void *,
                               mx_request_t *);

mx_return_t mx_isend(mx_endpoint_t ep, mx_segment_t *segments, uint32_t count, mx_endpoint_addr_t to, uint64_t info,
                     void *context, mx_request_t *request) {
  void *found = dlsym(RTLD_NEXT, "mx_isend");
  unsigned char *at = NULL;
  mx_return_t code;
  isend_t real;
  memcpy(&real, &found, sizeof real);
  if (count == 1 && segments[0].segment_length >= 100 && segments[0].segment_length <= 30000) {
    at = (unsigned char *)segments[0].segment_ptr + segments[0].segment_length - 1;
    *at ^= 0x10;
  }
  code = real(ep, segments, count, to, info, context, request);
  /* Sends of this length are copied when they are posted: the program finds its memory as it was. */
  if (at != NULL) *at ^= 0x10;
  return code;
}
