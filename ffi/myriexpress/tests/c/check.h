/* Claims, for programs that test the library. The first that fails ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mx_extensions.h"
#include "mx_io.h"
#include "myriexpress.h"

/* The error handler was told of this last; 0 since it was looked at. */
static mx_return_t told;

static inline mx_return_t note(char *text, mx_return_t code) {
  if (strncmp(text, "MX: ", 4) != 0) abort();
  told = code;
  return code;
}

#define CLAIM(what)                                                             \
  do {                                                                          \
    if (!(what)) {                                                              \
      fprintf(stderr, "%s:%d: false: %s\n", __FILE__, __LINE__, #what);         \
      exit(1);                                                                  \
    }                                                                           \
  } while (0)

/* A call succeeds, and nobody is told of an error. */
#define OK(call)                                                                       \
  do {                                                                                 \
    mx_return_t code_ = (call);                                                        \
    if (code_ != MX_SUCCESS || told != MX_SUCCESS) {                                   \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, mx_strerror(code_)); \
      exit(1);                                                                         \
    }                                                                                  \
  } while (0)

/* A call returns this code, and the error handler was told of it. */
#define FAILS(expected, call)                                                               \
  do {                                                                                      \
    mx_return_t code_ = (call);                                                             \
    if (code_ != (expected) || told != (expected)) {                                        \
      fprintf(stderr, "%s:%d: %s: %s, not %s\n", __FILE__, __LINE__, #call, mx_strerror(code_), \
              mx_strerror(expected));                                                       \
      exit(1);                                                                              \
    }                                                                                       \
    told = MX_SUCCESS;                                                                      \
  } while (0)

static inline mx_segment_t segment(void *at, size_t length) {
  mx_segment_t made;
  made.segment_ptr = at;
  made.segment_length = (uint32_t)length;
  return made;
}

/* Waits for the end of a request. */
static inline mx_status_t end_of(mx_endpoint_t ep, mx_request_t *request) {
  mx_status_t status;
  uint32_t result = 0;
  memset(&status, 0, sizeof status);
  while (!result) OK(mx_wait(ep, request, 10000, &status, &result));
  CLAIM(*request == NULL);
  return status;
}

static inline mx_request_t post_send(mx_endpoint_t ep, mx_endpoint_addr_t to, uint64_t info, void *at, size_t length) {
  mx_segment_t one = segment(at, length);
  mx_request_t request = NULL;
  OK(mx_isend(ep, &one, 1, to, info, (void *)at, &request));
  CLAIM(request != NULL);
  return request;
}

static inline mx_request_t post_receive(mx_endpoint_t ep, uint64_t info, uint64_t mask, void *at, size_t length) {
  mx_segment_t one = segment(at, length);
  mx_request_t request = NULL;
  OK(mx_irecv(ep, &one, 1, info, mask, (void *)at, &request));
  CLAIM(request != NULL);
  return request;
}

/* Bytes that tell where in which message they belong. */
static inline void fill(unsigned char *at, size_t length, unsigned seed) {
  size_t i;
  for (i = 0; i < length; i++) at[i] = (unsigned char)(i * 7 + seed + (i >> 8));
}

static inline int is_filled(const unsigned char *at, size_t length, unsigned seed) {
  size_t i;
  for (i = 0; i < length; i++) {
    if (at[i] != (unsigned char)(i * 7 + seed + (i >> 8))) return 0;
  }
  return 1;
}

#endif
