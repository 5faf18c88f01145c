/*
 * What the library does while a program ends.
 * Arguments: `close`: an `atexit` handler uses the endpoint and closes it; `fatal`: one that runs for a fatal error makes errors itself.
 */
#include <unistd.h>

#include "check.h"

static mx_endpoint_t ep;
static mx_endpoint_addr_t self;
static int calls;

/* `exit` may not be called again. */
#define AT_EXIT(what) \
  do {                \
    if (!(what)) {    \
      perror(#what);  \
      _exit(3);       \
    }                 \
  } while (0)

static mx_unexp_handler_action_t count(void *context, mx_endpoint_addr_t source, uint64_t info, uint32_t length,
                                       void *data) {
  (void)context, (void)source, (void)info, (void)length, (void)data;
  calls++;
  AT_EXIT(mx_close_endpoint(ep) == MX_CLOSE_IN_HANDLER);
  return MX_RECV_FINISHED;
}

/* Has the handler called once more. */
static void send_one(void) {
  mx_request_t request;
  int before = calls;
  AT_EXIT(mx_isend(ep, NULL, 0, self, 1, NULL, &request) == MX_SUCCESS);
  AT_EXIT(mx_forget(ep, &request) == MX_SUCCESS);
  while (calls == before) AT_EXIT(mx_progress(ep) == MX_SUCCESS);
}

static void close_it(void) {
  send_one();
  AT_EXIT(mx_close_endpoint(ep) == MX_SUCCESS);
  AT_EXIT(mx_finalize() == MX_SUCCESS);
  printf("leaving: closed\n");
  fflush(stdout);
}

static void close_it_twice(void) {
  AT_EXIT(mx_close_endpoint(ep) == MX_SUCCESS);
  printf("leaving: closed\n");
  fflush(stdout);
  mx_close_endpoint(ep);
  AT_EXIT(!"an error that is fatal");
}

int main(int argc, char **argv) {
  mx_endpoint_addr_t own;
  uint64_t nic;
  uint32_t number;
  int fatal;
  CLAIM(argc == 2);
  fatal = strcmp(argv[1], "fatal") == 0;
  OK(mx_init());
  OK(mx_open_endpoint(0, MX_ANY_ENDPOINT, 1, NULL, 0, &ep));
  OK(mx_get_endpoint_addr(ep, &own));
  OK(mx_decompose_endpoint_addr(own, &nic, &number));
  OK(mx_connect(ep, nic, number, 1, 10000, &self));
  CLAIM(atexit(fatal ? close_it_twice : close_it) == 0);
  OK(mx_register_unexp_handler(ep, count, NULL));
  mx_set_error_handler(MX_ERRORS_RETURN);
  send_one();
  if (fatal) mx_set_error_handler(MX_ERRORS_ARE_FATAL);
  if (fatal) mx_wait(ep, NULL, 1, NULL, NULL);
  return fatal ? 4 : 0;
}
