/*
 * What the library says on standard error is heard by nobody: calls answer as ever.
 * Arguments: `broken`: it is a pipe that nobody reads; `closed`: it is closed. Errors are not fatal (`MX_ERRORS_ARE_FATAL=0`).
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "myriexpress.h"

#define CODE(expected, call)                                                  \
  do {                                                                        \
    mx_return_t code_ = (call);                                               \
    if (code_ != (expected)) {                                                \
      printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #call, mx_strerror(code_)); \
      return 1;                                                               \
    }                                                                         \
  } while (0)

int main(int argc, char **argv) {
  int closed = argc == 2 && strcmp(argv[1], "closed") == 0;
  mx_endpoint_t ep = NULL;
  int ends[2];
  if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || pipe(ends) != 0 || dup2(ends[1], 2) != 2) return 3;
  close(ends[0]);
  close(ends[1]);
  CODE(MX_NOT_INITIALIZED, mx_finalize());
  CODE(MX_SUCCESS, mx_init());
  CODE(MX_SUCCESS, mx_open_endpoint(0, MX_ANY_ENDPOINT, 1, NULL, 0, &ep));
  if (closed) close(2);
  CODE(MX_ALREADY_INITIALIZED, mx_init());
  CODE(MX_BAD_REQUEST, mx_test(ep, NULL, NULL, NULL));
  CODE(MX_BUSY, mx_finalize());
  CODE(MX_SUCCESS, mx_close_endpoint(ep));
  CODE(MX_SUCCESS, mx_finalize());
  printf("unheard: all codes are right\n");
  return 0;
}
