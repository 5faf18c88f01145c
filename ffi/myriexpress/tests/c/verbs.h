/*
 * The calls of MX that mere exchanges do not need, between two guests. Part of pair.c.
 *
 * Each phase has one side that receives, asks or decides (`mine`), and one that sends to it; then they change places.
 */
#ifndef VERBS_H
#define VERBS_H

#include <pthread.h>
#include <unistd.h>

#include "check.h"

/* What both sides of pair.c have. */
enum { NUMBER = 3, KEY = 0x5eed };
static mx_endpoint_t ep;
static mx_endpoint_addr_t other;
static unsigned me, them;
static unsigned char *out, *in;
static void meet_again(uint64_t info);
static void meet(char *board);

enum { SMALL = 8, LARGE = 100000 };
/* Match information: what the handler is to do, in the low byte. */
enum {
  HANDLE = 0x1000,
  TAKE = 1,   /* MX_RECV_FINISHED */
  LEAVE = 2,  /* MX_RECV_CONTINUE: it waits */
  POST = 3,   /* MX_RECV_CONTINUE, and a receive for it */
  STREAM = 4, /* MX_RECV_FINISHED, one after another */
  SYNCHRONOUS = 0x100,
  PLAIN = 0x2000
};

struct handled {
  int calls, taken, left, posted, streamed, inside;
  unsigned char room[LARGE];
  mx_request_t request;
};

static int handled_so_far(const int *of) { return __atomic_load_n(of, __ATOMIC_ACQUIRE); }
static void one_more(int *of) { __atomic_fetch_add(of, 1, __ATOMIC_ACQ_REL); }

static mx_unexp_handler_action_t handle(void *context, mx_endpoint_addr_t source, uint64_t info, uint32_t length,
                                        void *data) {
  struct handled *handled = context;
  mx_unexp_handler_action_t action = MX_RECV_CONTINUE;
  mx_status_t status;
  uint32_t result = 7;
  if ((info & ~(uint64_t)0x1ff) != HANDLE) return MX_RECV_CONTINUE;
  one_more(&handled->inside);
  CLAIM(memcmp(&source, &other, sizeof source) == 0);
  CLAIM(length == SMALL || length == LARGE);
  /* What is short is there; what is long or synchronous is still with its sender. */
  if (length == SMALL && (info & SYNCHRONOUS) == 0) {
    CLAIM(data != NULL && is_filled(data, SMALL, them));
  } else {
    CLAIM(data == NULL);
  }
  /* Nothing arrives while it runs, and it does not wait for that. */
  OK(mx_wait_any(ep, MX_INFINITE, PLAIN + 9, MX_MATCH_MASK_NONE, &status, &result));
  CLAIM(result == 0);
  switch (info & 0xff) {
    case TAKE:
      one_more(&handled->taken);
      action = MX_RECV_FINISHED;
      break;
    case POST:
      handled->request = post_receive(ep, info, MX_MATCH_MASK_NONE, handled->room, length);
      one_more(&handled->posted);
      break;
    case STREAM:
      one_more(&handled->streamed);
      action = MX_RECV_FINISHED;
      break;
    default:
      CLAIM((info & 0xff) == LEAVE);
      one_more(&handled->left);
  }
  __atomic_fetch_sub(&handled->inside, 1, __ATOMIC_ACQ_REL);
  one_more(&handled->calls);
  return action;
}

/* Sends so many bytes, and waits until they are received, or dealt with. */
static void send_and_finish(uint64_t info, size_t length, int synchronous) {
  mx_segment_t one = segment(out, length);
  mx_request_t request;
  mx_status_t status;
  fill(out, length, me);
  if (synchronous) {
    OK(mx_issend(ep, &one, 1, other, info, out, &request));
  } else {
    request = post_send(ep, other, info, out, length);
  }
  status = end_of(ep, &request);
  CLAIM(status.code == MX_STATUS_SUCCESS && status.match_info == info && status.context == out);
  CLAIM(status.msg_length == length && memcmp(&status.source, &other, sizeof other) == 0);
}

/* Receives what has come, or comes. */
static void receive_whole(uint64_t info, size_t length) {
  mx_request_t request;
  mx_status_t status;
  memset(in, 0, length);
  request = post_receive(ep, info, MX_MATCH_MASK_NONE, in, length);
  status = end_of(ep, &request);
  CLAIM(status.code == MX_STATUS_SUCCESS && status.match_info == info && status.xfer_length == length);
  CLAIM(is_filled(in, length, them) && memcmp(&status.source, &other, sizeof other) == 0);
}

static void is_waiting(uint64_t info, size_t length) {
  mx_status_t status;
  uint32_t result = 0;
  memset(&status, 0, sizeof status);
  OK(mx_probe(ep, 60000, info, MX_MATCH_MASK_NONE, &status, &result));
  CLAIM(result == 1 && status.match_info == info && status.msg_length == length);
  CLAIM(memcmp(&status.source, &other, sizeof other) == 0);
}

static void is_not_waiting(uint64_t info) {
  mx_status_t status;
  uint32_t result = 7;
  OK(mx_iprobe(ep, info, MX_MATCH_MASK_NONE, &status, &result));
  CLAIM(result == 0);
}

/* Both answers of a handler, to messages that are there and to such as have to be fetched. */
static void handling(int mine) {
  static const size_t lengths[] = {SMALL, LARGE};
  static struct handled handled;
  unsigned i;
  memset(&handled, 0, sizeof handled);
  if (mine) OK(mx_register_unexp_handler(ep, handle, &handled));
  meet_again(1);
  for (i = 0; i < 2; i++) {
    size_t length = lengths[i];
    if (!mine) {
      mx_request_t left;
      send_and_finish(HANDLE + TAKE, length, 0);
      send_and_finish(HANDLE + SYNCHRONOUS + TAKE, length, 1);
      send_and_finish(HANDLE + POST, length, 0);
      fill(out, length, me);
      left = post_send(ep, other, HANDLE + LEAVE, out, length);
      meet_again(2);
      CLAIM(end_of(ep, &left).code == MX_STATUS_SUCCESS);
    } else {
      mx_status_t status;
      while (handled_so_far(&handled.taken) < 2 || handled_so_far(&handled.posted) < 1) OK(mx_progress(ep));
      status = end_of(ep, &handled.request);
      CLAIM(status.code == MX_STATUS_SUCCESS && status.xfer_length == length);
      CLAIM(status.context == handled.room && is_filled(handled.room, length, them));
      is_waiting(HANDLE + LEAVE, length);
      CLAIM(handled_so_far(&handled.left) == 1);
      is_not_waiting(HANDLE + TAKE);
      is_not_waiting(HANDLE + POST);
      receive_whole(HANDLE + LEAVE, length);
      CLAIM(handled_so_far(&handled.calls) == 4);
      memset(&handled, 0, sizeof handled);
      meet_again(2);
    }
  }
  if (mine) OK(mx_register_unexp_handler(ep, NULL, NULL));
  meet_again(3);
}

/* While progression is off no handler runs and nothing arrives, though the other goes on sending. */
static void pausing(int mine) {
  static struct handled handled;
  memset(&handled, 0, sizeof handled);
  if (mine) OK(mx_register_unexp_handler(ep, handle, &handled));
  meet_again(4);
  if (mine) {
    mx_status_t status;
    uint32_t result = 7;
    int before;
    while (handled_so_far(&handled.streamed) < 3) OK(mx_progress(ep));
    OK(mx_disable_progression(ep));
    CLAIM(handled_so_far(&handled.inside) == 0);
    before = handled_so_far(&handled.streamed);
    OK(mx_progress(ep));
    OK(mx_probe(ep, 50, HANDLE + SYNCHRONOUS + STREAM, MX_MATCH_MASK_NONE, &status, &result));
    CLAIM(result == 0 && handled_so_far(&handled.streamed) == before);
    OK(mx_reenable_progression(ep));
    while (handled_so_far(&handled.streamed) < before + 3) OK(mx_progress(ep));
    send_and_finish(PLAIN, 1, 0);
    meet_again(5);
    OK(mx_register_unexp_handler(ep, NULL, NULL));
  } else {
    mx_request_t enough = post_receive(ep, PLAIN, MX_MATCH_MASK_NONE, in, 1);
    mx_status_t status;
    uint32_t result = 0;
    while (!result) {
      send_and_finish(HANDLE + SYNCHRONOUS + STREAM, SMALL, 1);
      OK(mx_test(ep, &enough, &status, &result));
    }
    CLAIM(status.code == MX_STATUS_SUCCESS);
    meet_again(5);
  }
  meet_again(6);
}

/* Connecting without waiting: to who is there already, with a wrong key, to a number that nobody has, and taken back. */
static void connecting(int mine) {
  mx_request_t request = NULL;
  mx_status_t status;
  uint64_t nic = 0;
  uint32_t number = 0, result = 0;
  meet_again(7);
  if (!mine) return;
  OK(mx_decompose_endpoint_addr(other, &nic, &number));
  CLAIM(number == NUMBER);
  OK(mx_iconnect(ep, nic, number, KEY, PLAIN + 1, &nic, &request));
  while (!result) OK(mx_wait_any(ep, 60000, PLAIN + 1, MX_MATCH_MASK_NONE, &status, &result));
  CLAIM(status.code == MX_STATUS_SUCCESS && status.match_info == PLAIN + 1 && status.context == &nic);
  CLAIM(memcmp(&status.source, &other, sizeof other) == 0);
  OK(mx_iconnect(ep, nic, number, KEY + 1, PLAIN + 2, NULL, &request));
  CLAIM(end_of(ep, &request).code == MX_STATUS_BAD_KEY);
  OK(mx_iconnect(ep, nic, NUMBER + 100, KEY, PLAIN + 3, NULL, &request));
  CLAIM(end_of(ep, &request).code == MX_STATUS_ENDPOINT_CLOSED);
  OK(mx_iconnect(ep, nic ^ 0x10, number, KEY, PLAIN + 4, NULL, &request));
  OK(mx_cancel(ep, &request, &result));
  CLAIM(result == 1 && request == NULL);
}

/* The number of the opening, as both sides know it; a pointer with a peer; what the endpoint says of itself. */
static void knowing(int mine) {
  mx_endpoint_addr_t own;
  mx_request_t request;
  mx_status_t status;
  uint64_t nic = 0, of = 0;
  uint32_t number = 0, session = 0, told_session = 0, values[64], count = 0, value = 0;
  void *pointer = &own;
  OK(mx_get_endpoint_addr(ep, &own));
  OK(mx_decompose_endpoint_addr2(own, &nic, &number, &session));
  CLAIM(number == NUMBER && session != 0);
  meet_again(8);
  if (!mine) {
    request = post_send(ep, other, PLAIN, &session, sizeof session);
    CLAIM(end_of(ep, &request).code == MX_STATUS_SUCCESS);
    return;
  }
  OK(mx_get_endpoint_addr_context(other, &pointer));
  CLAIM(pointer == NULL);
  OK(mx_set_endpoint_addr_context(other, &other));
  request = post_receive(ep, PLAIN, MX_MATCH_MASK_NONE, &told_session, sizeof told_session);
  status = end_of(ep, &request);
  OK(mx_get_endpoint_addr_context(status.source, &pointer));
  CLAIM(pointer == &other);
  OK(mx_set_endpoint_addr_context(other, NULL));
  OK(mx_decompose_endpoint_addr2(status.source, &of, &number, &session));
  CLAIM(of != nic && number == NUMBER && session == told_session);

  OK(mx_get_info(ep, MX_COPY_SEND_MAX, NULL, 0, &value, sizeof value));
  CLAIM(value == 32768);
  OK(mx_get_info(ep, MX_COUNTERS_COUNT, NULL, 0, &count, sizeof count));
  CLAIM(count > 0 && count <= sizeof values / sizeof values[0]);
  OK(mx_get_info(ep, MX_COUNTERS_VALUES, NULL, 0, values, count * (uint32_t)sizeof values[0]));
  CLAIM(values[0] > 0);
}

/* A message is looked at before it is received, an end before it is taken. */
static void looking(int mine) {
  mx_request_t request, peeked = NULL;
  mx_status_t status;
  uint32_t result = 7;
  void *context = NULL;
  meet_again(9);
  if (!mine) {
    send_and_finish(PLAIN + 1, SMALL, 0);
    send_and_finish(PLAIN + 2, LARGE, 0);
    meet_again(10);
    send_and_finish(PLAIN + 3, SMALL, 0);
    return;
  }
  for (result = 0; !result;) OK(mx_iprobe(ep, PLAIN + 1, MX_MATCH_MASK_NONE, &status, &result));
  CLAIM(status.msg_length == SMALL && memcmp(&status.source, &other, sizeof other) == 0);
  is_waiting(PLAIN + 1, SMALL);
  is_not_waiting(PLAIN + 9);
  status.match_info = 5;
  OK(mx_probe(ep, 5, PLAIN + 9, MX_MATCH_MASK_NONE, &status, &result));
  CLAIM(result == 0 && status.match_info == 5);
  receive_whole(PLAIN + 1, SMALL);
  is_not_waiting(PLAIN + 1);
  is_waiting(PLAIN + 2, LARGE);
  receive_whole(PLAIN + 2, LARGE);

  result = 7;
  OK(mx_ipeek(ep, &peeked, &result));
  CLAIM(result == 0 && peeked == NULL);
  request = post_receive(ep, PLAIN + 3, MX_MATCH_MASK_NONE, in, SMALL);
  OK(mx_peek(ep, 5, &peeked, &result));
  CLAIM(result == 0);
  meet_again(10);
  OK(mx_peek(ep, 60000, &peeked, &result));
  CLAIM(result == 1 && peeked == request);
  OK(mx_context(&peeked, &context));
  CLAIM(context == in);
  FAILS(MX_BAD_REQUEST, mx_ibuffered(ep, &peeked, &result));
  OK(mx_ipeek(ep, &peeked, &result));
  CLAIM(result == 1 && peeked == request);
  OK(mx_test(ep, &peeked, &status, &result));
  CLAIM(result == 1 && peeked == NULL && status.xfer_length == SMALL && is_filled(in, SMALL, them));
  FAILS(MX_BAD_REQUEST, mx_test(ep, &request, &status, &result));
  OK(mx_ipeek(ep, &peeked, &result));
  CLAIM(result == 0);
}

/* Ends are found by bits of their match information, whatever the order in which they were posted. */
static void choosing(int mine) {
  enum { MANY = 4 };
  static const uint64_t low = 0xf;
  unsigned char got[MANY][SMALL];
  mx_request_t requests[MANY];
  mx_status_t status;
  uint32_t result = 0, i, seen = 0;
  if (mine) {
    for (i = 0; i < MANY; i++) {
      requests[i] = post_receive(ep, PLAIN + i, MX_MATCH_MASK_NONE, got[i], SMALL);
    }
  }
  meet_again(11);
  if (!mine) {
    for (i = 0; i < MANY; i++) send_and_finish(PLAIN + i, SMALL, 0);
    return;
  }
  OK(mx_wait_any(ep, 5, PLAIN + 9, MX_MATCH_MASK_NONE, &status, &result));
  CLAIM(result == 0);
  while (!result) OK(mx_test_any(ep, PLAIN + 2, MX_MATCH_MASK_NONE, &status, &result));
  CLAIM(status.match_info == PLAIN + 2 && status.context == got[2] && is_filled(got[2], SMALL, them));
  for (i = 1; i < MANY; i++) {
    for (result = 0; !result;) OK(mx_wait_any(ep, 60000, PLAIN, ~low, &status, &result));
    CLAIM(status.code == MX_STATUS_SUCCESS && status.context == got[status.match_info & low]);
    seen |= 1U << (status.match_info & low);
  }
  CLAIM(seen == 0xb);
  for (i = 0; i < MANY; i++) FAILS(MX_BAD_REQUEST, mx_test(ep, &requests[i], &status, &result));
}

/* What is taken back gets no message; what is forgotten gets one, and nobody hears of it. */
static void giving_up(int mine) {
  unsigned char first[SMALL], second[SMALL];
  mx_request_t request, forgotten;
  uint32_t result = 7;
  memset(first, 0, SMALL);
  memset(second, 0, SMALL);
  if (mine) {
    request = post_receive(ep, PLAIN + 1, MX_MATCH_MASK_NONE, first, SMALL);
    OK(mx_cancel(ep, &request, &result));
    CLAIM(result == 1 && request == NULL);
    forgotten = post_receive(ep, PLAIN + 2, MX_MATCH_MASK_NONE, first, SMALL);
    OK(mx_forget(ep, &forgotten));
    CLAIM(forgotten == NULL);
    request = post_receive(ep, PLAIN + 2, MX_MATCH_MASK_NONE, second, SMALL);
  }
  meet_again(12);
  if (!mine) {
    send_and_finish(PLAIN + 1, SMALL, 0);
    send_and_finish(PLAIN + 2, SMALL, 0);
    send_and_finish(PLAIN + 2, SMALL, 0);
    /* What is sent arrives, though its sender has forgotten it. */
    fill(out, LARGE, me);
    request = post_send(ep, other, PLAIN + 3, out, LARGE);
    FAILS(MX_CANCEL_NOT_SUPPORTED, mx_cancel(ep, &request, &result));
    OK(mx_forget(ep, &request));
    CLAIM(request == NULL);
    meet_again(13);
    OK(mx_ipeek(ep, &request, &result));
    CLAIM(result == 0);
    return;
  }
  /* The first end that is there is of the second. */
  OK(mx_peek(ep, 60000, &forgotten, &result));
  CLAIM(result == 1 && forgotten == request);
  OK(mx_cancel(ep, &request, &result));
  CLAIM(result == 0 && request == forgotten);
  CLAIM(end_of(ep, &request).code == MX_STATUS_SUCCESS && is_filled(second, SMALL, them));
  CLAIM(is_filled(first, SMALL, them));
  is_waiting(PLAIN + 1, SMALL);
  receive_whole(PLAIN + 1, SMALL);
  receive_whole(PLAIN + 3, LARGE);
  meet_again(13);
}

/* A long send has left its memory when the other has it, and not before; a request that takes too long ends. */
static void buffering(int mine) {
  mx_request_t request;
  mx_status_t status;
  uint32_t result = 7;
  meet_again(14);
  if (mine) {
    meet_again(15);
    receive_whole(PLAIN + 1, LARGE);
    receive_whole(PLAIN + 2, SMALL);
  } else {
    fill(out, LARGE, me);
    request = post_send(ep, other, PLAIN + 1, out, LARGE);
    OK(mx_ibuffered(ep, &request, &result));
    CLAIM(result == 0);
    OK(mx_test(ep, &request, &status, &result));
    CLAIM(result == 0);
    meet_again(15);
    while (!result) OK(mx_ibuffered(ep, &request, &result));
    CLAIM(end_of(ep, &request).code == MX_STATUS_SUCCESS);
    fill(out, SMALL, me);
    request = post_send(ep, other, PLAIN + 2, out, SMALL);
    for (result = 0; !result;) OK(mx_ibuffered(ep, &request, &result));
    memset(out, 0, SMALL);
    OK(mx_forget(ep, &request));
  }
  request = post_receive(ep, PLAIN + 9, MX_MATCH_MASK_NONE, in, SMALL);
  OK(mx_set_request_timeout(ep, request, 5));
  CLAIM(end_of(ep, &request).code == MX_STATUS_TIMEOUT);
}

static void *blocked(void *ended) {
  mx_status_t status;
  uint32_t result = 7;
  OK(mx_probe(ep, MX_INFINITE, PLAIN + 9, MX_MATCH_MASK_NONE, &status, &result));
  CLAIM(result == 0);
  __atomic_store_n((int *)ended, 1, __ATOMIC_RELEASE);
  return NULL;
}

static void waking(void) {
  pthread_t thread;
  int ended = 0;
  CLAIM(pthread_create(&thread, NULL, blocked, &ended) == 0);
  while (!__atomic_load_n(&ended, __ATOMIC_ACQUIRE)) {
    OK(mx_wakeup(ep));
    usleep(1000);
  }
  pthread_join(thread, NULL);
}

/* Everything with the other ends; then both connect anew, and go on. */
static void parting(int mine, char *board) {
  mx_request_t request, again;
  mx_status_t status;
  uint32_t session = 7;
  meet_again(16);
  fill(out, LARGE, me);
  if (!mine) {
    request = post_send(ep, other, PLAIN + 1, out, SMALL);
    CLAIM(end_of(ep, &request).code == MX_STATUS_SUCCESS);
    request = post_send(ep, other, PLAIN + 2, out, LARGE);
    /* It ends, since the other does not want it any more. */
    status = end_of(ep, &request);
    CLAIM(status.code != MX_STATUS_SUCCESS && status.xfer_length == 0);
  } else {
    is_waiting(PLAIN + 1, SMALL);
    is_waiting(PLAIN + 2, LARGE);
    request = post_send(ep, other, PLAIN + 3, out, LARGE);
    OK(mx_disconnect(ep, other));
    status = end_of(ep, &request);
    CLAIM(status.code == MX_STATUS_ENDPOINT_UNREACHABLE && status.xfer_length == 0);
    is_not_waiting(PLAIN + 1);
    is_not_waiting(PLAIN + 2);
    OK(mx_decompose_endpoint_addr2(other, NULL, NULL, &session));
    CLAIM(session == 0);
    again = post_send(ep, other, PLAIN + 4, out, SMALL);
    CLAIM(end_of(ep, &again).code == MX_STATUS_ENDPOINT_UNREACHABLE);
  }
  meet(board);
  meet_again(17);
  if (mine) {
    receive_whole(PLAIN + 5, LARGE);
  } else {
    send_and_finish(PLAIN + 5, LARGE, 0);
  }
}

static void verbs(char *board, int alone) {
  unsigned turn;
  for (turn = 'a'; turn <= 'b'; turn++) {
    int mine = me == turn;
    handling(mine);
    pausing(mine);
    connecting(mine);
    knowing(mine);
    looking(mine);
    choosing(mine);
    giving_up(mine);
    buffering(mine);
    if (!alone) waking();
    parting(mine, board);
  }
}

#endif
