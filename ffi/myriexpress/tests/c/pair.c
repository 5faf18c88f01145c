/*
 * Two guests that exchange messages of every kind, and what happens when one dies.
 * Arguments: a (who stays) or b (who dies in the end), the other's board.
 */
#include <pthread.h>
#include <unistd.h>

#include "check.h"
#include "verbs.h"

enum { THREADS = 3, ROUNDS = 200, MOST = 3 << 20 };
static const uint64_t ALL = MX_MATCH_MASK_NONE;
static const size_t LENGTHS[] = {0,    1,     31,    32,    33,    127,   128,    129,    4096,
                                 8191, 8193,  32767, 32768, 32769, 65537, 100000, 286977, 1 << 20,
                                 MOST};
enum { COUNT = sizeof LENGTHS / sizeof LENGTHS[0] };

/* The two meet: whoever is early waits for the other's board, and for its endpoint. */
static void meet(char *board) {
  uint64_t nic;
  mx_return_t code;
  mx_set_error_handler(MX_ERRORS_RETURN);
  while (mx_hostname_to_nic_id(board, &nic) != MX_SUCCESS) usleep(2000);
  do {
    code = mx_connect(ep, nic, NUMBER, KEY, 1000, &other);
    if (code != MX_SUCCESS) usleep(2000);
  } while (code == MX_CONNECTION_FAILED || code == MX_TIMEOUT || code == MX_NIC_NOT_FOUND);
  CLAIM(code == MX_SUCCESS);
  mx_set_error_handler(note);
}

/* Every length both ways at once, posted in time and too late. */
static void lengths(void) {
  size_t i;
  int late;
  for (late = 0; late < 2; late++) {
    for (i = 0; i < COUNT; i++) {
      mx_request_t send, receive = NULL;
      mx_status_t status;
      uint32_t result = 0;
      uint64_t mine = (uint64_t)me << 32 | i, theirs = (uint64_t)them << 32 | i;
      fill(out, LENGTHS[i], me + (unsigned)i);
      memset(in, 0xee, LENGTHS[i] + 1);
      if (!late) receive = post_receive(ep, theirs, ALL, in, LENGTHS[i]);
      send = post_send(ep, other, mine, out, LENGTHS[i]);
      if (late) {
        OK(mx_probe(ep, 10000, theirs, ALL, &status, &result));
        CLAIM(result == 1 && status.msg_length == LENGTHS[i]);
        receive = post_receive(ep, theirs, ALL, in, LENGTHS[i]);
      }
      status = end_of(ep, &receive);
      CLAIM(status.code == MX_STATUS_SUCCESS && status.match_info == theirs);
      CLAIM(status.msg_length == LENGTHS[i] && status.xfer_length == LENGTHS[i]);
      CLAIM(memcmp(&status.source, &other, sizeof other) == 0);
      CLAIM(is_filled(in, LENGTHS[i], them + (unsigned)i) && in[LENGTHS[i]] == 0xee);
      CLAIM(end_of(ep, &send).code == MX_STATUS_SUCCESS);
    }
  }
}

/* 256 segments of different lengths, others at the receiver. */
static void segments(void) {
  mx_segment_t from[MX_MAX_SEGMENTS], to[MX_MAX_SEGMENTS];
  size_t whole, at, unit;
  for (unit = 1; unit <= 1000; unit *= 10) {
    mx_request_t send, receive;
    mx_status_t status;
    uint32_t i;
    for (i = 0, at = 0; i < MX_MAX_SEGMENTS; i++) {
      from[i] = segment(out + at, i % 7 * unit);
      at += from[i].segment_length;
    }
    whole = at;
    for (i = 0, at = 0; i < MX_MAX_SEGMENTS; i++) {
      size_t length = i == MX_MAX_SEGMENTS - 1 ? whole - at : (i + 3) % 5 * unit;
      if (length > whole - at) length = whole - at;
      to[i] = segment(in + at, length);
      at += length;
    }
    fill(out, whole, me);
    memset(in, 0, whole);
    OK(mx_irecv(ep, to, MX_MAX_SEGMENTS, 1, ALL, NULL, &receive));
    OK(mx_issend(ep, from, MX_MAX_SEGMENTS, other, 1, NULL, &send));
    status = end_of(ep, &receive);
    CLAIM(status.code == MX_STATUS_SUCCESS && status.xfer_length == whole && is_filled(in, whole, them));
    CLAIM(end_of(ep, &send).code == MX_STATUS_SUCCESS);
  }
}

/* Messages of all lengths arrive in the order in which they were sent, and what is too long is cut. */
static void order(void) {
  static mx_request_t sends[ROUNDS];
  unsigned i;
  fill(out, MOST, me);
  for (i = 0; i < ROUNDS; i++) {
    size_t length = i % 10 == 0 ? 50000 + i : i * 100;
    sends[i] = post_send(ep, other, 2, out, length);
  }
  for (i = 0; i < ROUNDS; i++) {
    size_t length = i % 10 == 0 ? 50000 + i : i * 100, room = i % 3 == 0 ? length / 2 : length;
    mx_request_t receive = post_receive(ep, 2, ALL, in, room);
    mx_status_t status = end_of(ep, &receive);
    CLAIM(status.msg_length == length && status.xfer_length == room && is_filled(in, room, them));
    CLAIM(status.code == (room < length ? MX_STATUS_TRUNCATED : MX_STATUS_SUCCESS));
  }
  for (i = 0; i < ROUNDS; i++) CLAIM(end_of(ep, &sends[i]).code == MX_STATUS_SUCCESS);
}

/* Threads share the endpoint, each with messages of its own. */
static void *thread(void *number) {
  unsigned i, which = *(unsigned *)number;
  for (i = 0; i < ROUNDS; i++) {
    unsigned char sent[300], got[300];
    uint64_t info = (uint64_t)which << 40 | i;
    size_t length = (which * 31 + i) % sizeof sent;
    mx_request_t send, receive;
    mx_status_t status;
    fill(sent, length, me + i);
    receive = post_receive(ep, info, ALL, got, sizeof got);
    send = post_send(ep, other, info, sent, length);
    status = end_of(ep, &receive);
    CLAIM(status.code == MX_STATUS_SUCCESS && status.msg_length == length && is_filled(got, length, them + i));
    CLAIM(end_of(ep, &send).code == MX_STATUS_SUCCESS);
  }
  return NULL;
}

static void threads(void) {
  pthread_t started[THREADS];
  unsigned i, numbers[THREADS];
  for (i = 0; i < THREADS; i++) {
    numbers[i] = i + 1;
    CLAIM(pthread_create(&started[i], NULL, thread, &numbers[i]) == 0);
  }
  for (i = 0; i < THREADS; i++) pthread_join(started[i], NULL);
}

/* Both are where the other is. */
static void meet_again(uint64_t info) {
  mx_request_t receive = post_receive(ep, info, ALL, in, 1);
  mx_segment_t one = segment(out, 1);
  mx_request_t send;
  OK(mx_issend(ep, &one, 1, other, info, NULL, &send));
  CLAIM(end_of(ep, &receive).code == MX_STATUS_SUCCESS);
  CLAIM(end_of(ep, &send).code == MX_STATUS_SUCCESS);
}

/* The other one dies: what is pending to it ends, and the endpoint goes on. */
static void death(void) {
  mx_request_t send, receive;
  mx_status_t status;
  meet_again(50);
  if (me == 'b') {
    receive = post_receive(ep, 51, ALL, in, 1);
    end_of(ep, &receive);
    _exit(0);
  }
  send = post_send(ep, other, 52, out, MOST);
  receive = post_send(ep, other, 51, out, 1);
  end_of(ep, &receive);
  status = end_of(ep, &send);
  CLAIM(status.code == MX_STATUS_ENDPOINT_CLOSED || status.code == MX_STATUS_ENDPOINT_UNREACHABLE ||
        status.code == MX_STATUS_BAD_SESSION);
  send = post_send(ep, other, 53, out, MOST);
  CLAIM(end_of(ep, &send).code != MX_STATUS_SUCCESS);
}

int main(int argc, char **argv) {
  const char *monothread = getenv("MX_MONOTHREAD");
  int alone = monothread != NULL && *monothread == '1';
  CLAIM(argc == 3);
  me = (unsigned char)argv[1][0];
  them = me == 'a' ? 'b' : 'a';
  out = malloc(MOST + 1);
  in = malloc(MOST + 1);
  mx_set_error_handler(note);
  OK(mx_init());
  OK(mx_open_endpoint(0, NUMBER, KEY, NULL, 0, &ep));
  meet(argv[2]);
  lengths();
  segments();
  order();
  if (!alone) threads();
  verbs(argv[2], alone);
  death();
  OK(mx_close_endpoint(ep));
  OK(mx_finalize());
  free(out);
  free(in);
  printf("pair: all as it should be\n");
  return 0;
}
