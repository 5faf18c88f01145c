/*
 * What the environment changes, and what threads see of each other: each behaviour as it is with a setting, and as it is without.
 * Arguments: which, and what is expected of it.
 */
#include <dirent.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { KEY = 0x5e7, SLEEPERS = 4 };
static const uint64_t ALL = MX_MATCH_MASK_NONE;

static mx_endpoint_t a, b;
static mx_endpoint_addr_t a_to_b;
static uint64_t nic;
static uint32_t number_of_b;

static void open_both(void) {
  mx_endpoint_addr_t own;
  mx_set_error_handler(note);
  OK(mx_init());
  OK(mx_open_endpoint(0, MX_ANY_ENDPOINT, KEY, NULL, 0, &a));
  OK(mx_open_endpoint(0, MX_ANY_ENDPOINT, KEY, NULL, 0, &b));
  OK(mx_get_endpoint_addr(b, &own));
  OK(mx_decompose_endpoint_addr(own, &nic, &number_of_b));
}

/* Where there is one thread only, both have to be worked for. */
static void meet(void) {
  mx_request_t connect;
  mx_status_t status;
  uint32_t result = 0;
  open_both();
  OK(mx_iconnect(a, nic, number_of_b, KEY, 1, NULL, &connect));
  while (!result) {
    OK(mx_progress(b));
    OK(mx_test(a, &connect, &status, &result));
  }
  CLAIM(status.code == MX_STATUS_SUCCESS);
  a_to_b = status.source;
}

static void close_both(void) {
  OK(mx_close_endpoint(a));
  OK(mx_close_endpoint(b));
  OK(mx_finalize());
}

static int load(int *from) { return __atomic_load_n(from, __ATOMIC_ACQUIRE); }
static void store(int *to, int value) { __atomic_store_n(to, value, __ATOMIC_RELEASE); }

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Whether sends of up to 32 KiB end before the receiver has done anything for them. */
static void early(uint32_t expected) {
  static const size_t lengths[] = {8, 1000, 30000};
  static unsigned char out[30000], in[30000];
  unsigned i;
  meet();
  fill(out, sizeof out, 1);
  for (i = 0; i < 3; i++) {
    mx_request_t send, receive;
    mx_status_t status;
    uint32_t result = 7;
    OK(mx_disable_progression(b));
    send = post_send(a, a_to_b, i, out, lengths[i]);
    OK(mx_wait(a, &send, expected ? 60000 : 50, &status, &result));
    CLAIM(result == expected);
    OK(mx_reenable_progression(b));
    receive = post_receive(b, i, ALL, in, sizeof in);
    status = end_of(b, &receive);
    CLAIM(status.xfer_length == lengths[i] && is_filled(in, lengths[i], 1));
    if (!expected) CLAIM(end_of(a, &send).code == MX_STATUS_SUCCESS);
  }
  close_both();
}

static int calls, inside;

static mx_unexp_handler_action_t count(void *context, mx_endpoint_addr_t source, uint64_t info, uint32_t length,
                                       void *data) {
  (void)source, (void)info, (void)length, (void)data;
  store(&inside, 1);
  usleep(*(useconds_t *)context);
  store(&inside, 0);
  __atomic_fetch_add(&calls, 1, __ATOMIC_ACQ_REL);
  return MX_RECV_FINISHED;
}

/* Has a message of a's arrive at b that only a handler takes, which runs for so long. */
static void call_handler(useconds_t *lasts) {
  char byte = 1;
  mx_request_t send;
  meet();
  OK(mx_register_unexp_handler(b, count, lasts));
  send = post_send(a, a_to_b, 1, &byte, 1);
  end_of(a, &send);
}

/* Whether a handler runs while the program makes no call. */
static void unattended(int expected) {
  useconds_t none = 0;
  call_handler(&none);
  if (expected) {
    while (load(&calls) == 0) usleep(1000);
  } else {
    usleep(100000);
    CLAIM(load(&calls) == 0);
    while (load(&calls) == 0) OK(mx_progress(b));
  }
  close_both();
}

/* Switching progression off waits for a handler that runs on another thread. */
static void pausing(void) {
  useconds_t while_running = 200000;
  call_handler(&while_running);
  while (!load(&inside)) usleep(100);
  OK(mx_disable_progression(b));
  CLAIM(!load(&inside) && load(&calls) == 1);
  OK(mx_reenable_progression(b));
  close_both();
}

/* How long a partner is waited for that says nothing: whether a connect to one ends within this many milliseconds. */
static void silence(uint32_t within, uint32_t expected) {
  mx_request_t connect;
  mx_status_t status;
  uint32_t result = 7;
  open_both();
  OK(mx_disable_progression(b));
  OK(mx_iconnect(a, nic, number_of_b, KEY, 1, NULL, &connect));
  OK(mx_wait(a, &connect, within, &status, &result));
  CLAIM(result == expected);
  if (expected) CLAIM(status.code == MX_STATUS_TIMEOUT || status.code == MX_STATUS_ENDPOINT_UNREACHABLE);
  OK(mx_reenable_progression(b));
  close_both();
}

/* What the default handler does with an error. */
static void fatal(void) {
  printf("it returned %d\n", (int)mx_finalize());
}

static mx_request_t shared;

static void *wait_for_it(void *code) {
  mx_request_t own = shared;
  mx_status_t status;
  uint32_t result = 0;
  mx_return_t answer = MX_SUCCESS;
  while (answer == MX_SUCCESS && !result) answer = mx_wait(a, &own, MX_INFINITE, &status, &result);
  *(int *)code = (int)answer;
  return NULL;
}

/* Of two threads that wait for one request, one has its end. */
static void two(void) {
  pthread_t threads[2];
  int codes[2] = {-1, -1}, i;
  mx_endpoint_addr_t own;
  mx_request_t send;
  char in, out = 5;
  open_both();
  OK(mx_get_endpoint_addr(a, &own));
  shared = post_receive(a, 1, ALL, &in, 1);
  /* Both threads are told. */
  mx_set_error_handler(MX_ERRORS_RETURN);
  for (i = 0; i < 2; i++) CLAIM(pthread_create(&threads[i], NULL, wait_for_it, &codes[i]) == 0);
  usleep(50000);
  send = post_send(a, own, 1, &out, 1);
  for (i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  CLAIM(codes[0] + codes[1] == MX_BAD_REQUEST && codes[0] * codes[1] == 0 && in == 5);
  mx_set_error_handler(note);
  end_of(a, &send);
  close_both();
}

/* How many threads of the process sleep. */
static int sleeping(void) {
  DIR *tasks = opendir("/proc/self/task");
  struct dirent *entry;
  int found = 0;
  CLAIM(tasks != NULL);
  while ((entry = readdir(tasks)) != NULL) {
    char path[300], text[300] = "";
    const char *state;
    FILE *file;
    snprintf(path, sizeof path, "/proc/self/task/%s/stat", entry->d_name);
    file = fopen(path, "r");
    if (file == NULL) continue;
    state = fgets(text, sizeof text, file) == NULL ? NULL : strrchr(text, ')');
    found += state != NULL && strstr(text, "(blocked)") != NULL && state[2] == 'S';
    fclose(file);
  }
  closedir(tasks);
  return found;
}

static int ended;

static void *sleeper(void *which) {
  mx_status_t status;
  mx_request_t request;
  uint32_t result = 7;
  char in;
  CLAIM(prctl(PR_SET_NAME, "blocked") == 0);
  switch (*(int *)which) {
    case 0: OK(mx_wait_any(a, MX_INFINITE, 9, ALL, &status, &result)); break;
    case 1: OK(mx_peek(a, MX_INFINITE, &request, &result)); break;
    case 2: OK(mx_probe(a, MX_INFINITE, 9, ALL, &status, &result)); break;
    default:
      request = post_receive(a, 9, ALL, &in, 1);
      OK(mx_wait(a, &request, MX_INFINITE, &status, &result));
      OK(mx_cancel(a, &request, NULL));
  }
  CLAIM(result == 0);
  __atomic_fetch_add(&ended, 1, __ATOMIC_ACQ_REL);
  return NULL;
}

/* One wakeup ends the calls of all who are blocked, and none that comes after it. */
static void waking(void) {
  pthread_t threads[SLEEPERS];
  int which[SLEEPERS] = {0, 1, 2, 3}, i, looks;
  mx_status_t status;
  uint32_t result = 7;
  double began;
  meet();
  OK(mx_wakeup(a));
  began = seconds();
  OK(mx_wait_any(a, 100, 9, ALL, &status, &result));
  CLAIM(result == 0 && seconds() - began >= 0.09);

  for (i = 0; i < SLEEPERS; i++) CLAIM(pthread_create(&threads[i], NULL, sleeper, &which[i]) == 0);
  /* They are in their calls when they sleep for long: before these, nothing makes them. */
  for (looks = 0; looks < 100; looks++) {
    usleep(1000);
    if (sleeping() < SLEEPERS) looks = 0;
  }
  CLAIM(load(&ended) == 0);
  OK(mx_wakeup(a));
  for (i = 0; i < SLEEPERS; i++) pthread_join(threads[i], NULL);
  CLAIM(load(&ended) == SLEEPERS);
  close_both();
}

int main(int argc, char **argv) {
  const char *what;
  int expected;
  CLAIM(argc >= 2);
  what = argv[1];
  expected = argc > 2 ? atoi(argv[2]) : 0;
  if (strcmp(what, "early") == 0) {
    early((uint32_t)expected);
  } else if (strcmp(what, "unattended") == 0) {
    unattended(expected);
  } else if (strcmp(what, "pausing") == 0) {
    pausing();
  } else if (strcmp(what, "silence") == 0) {
    CLAIM(argc == 4);
    silence((uint32_t)atoi(argv[3]), (uint32_t)expected);
  } else if (strcmp(what, "fatal") == 0) {
    fatal();
  } else if (strcmp(what, "two") == 0) {
    two();
  } else if (strcmp(what, "waking") == 0) {
    waking();
  } else {
    CLAIM(!"a word that it knows");
  }
  return 0;
}
