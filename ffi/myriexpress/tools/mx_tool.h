/*
 * What the MX tools share. A program defines TOOL, its name, and USAGE, how it is called, before it includes this.
 */
#ifndef MX_TOOL_H
#define MX_TOOL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mx_extensions.h"
#include "myriexpress.h"

/* The key of tools that talk to each other, unless -f says another. */
enum { TOOL_KEY = 0x12345 };
/* The endpoint of the one that answers, unless -e and -r say another. */
enum { TOOL_ENDPOINT = 1 };
/* How often, and after how many microseconds, a partner is looked for that may have been started a moment ago only. */
enum { TOOL_TRIES = 500, TOOL_PAUSE_US = 10000 };
/* How long nothing may come, in milliseconds, before a partner is asked whether it is still there; and how long it may take to answer. */
enum { TOOL_SILENCE_MS = 2000, TOOL_ANSWER_MS = 5000 };

static inline void fail(const char *what) {
  fprintf(stderr, TOOL ": %s\n", what);
  exit(1);
}

/* The call was wrong: says how it is right, and ends with 2. */
static inline void usage(void) {
  fputs(USAGE, stderr);
  exit(2);
}

/* -h */
static inline void help(void) {
  fputs(USAGE, stdout);
  exit(0);
}

/* The value of an option: decimal, 0x or 0, at most 2^32 - 1. */
static inline uint32_t number(int option, const char *text) {
  char *rest;
  unsigned long value = strtoul(text, &rest, 0);
  if (*text < '0' || *text > '9' || *rest != '\0' || value > 0xffffffffUL) {
    fprintf(stderr, TOOL ": -%c: '%s' is not a number from 0 to 4294967295\n", option, text);
    usage();
  }
  return (uint32_t)value;
}

/* Options that contradict each other, or values that make no sense. */
static inline void wrong(const char *what) {
  fprintf(stderr, TOOL ": %s\n", what);
  usage();
}

/* What every tool that talks to another is told: its own board and endpoint, who the other is, and how to wait. */
struct ends {
  uint32_t board, local, remote, key;
  const char *host; /* the other; NULL where the tool answers */
  const char *nic;  /* of the own board, where that is not given by its number */
  int blocking;
};

/* Any endpoint, for the one that talks first; and as below. */
#define TOOL_ENDS \
  { .board = MX_ANY_NIC, .local = MX_ANY_ENDPOINT, .remote = TOOL_ENDPOINT, .key = TOOL_KEY }

/* Whether the tool talks first: it has been told to whom. */
static inline int begins(const struct ends *ends) { return ends->host != NULL; }

/* A NIC id as people write it: six bytes in hexadecimal. */
enum { NIC_TEXT = 18 };
static inline const char *nic_text(uint64_t nic, char text[NIC_TEXT]) {
  snprintf(text, NIC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", (unsigned)(nic >> 40 & 0xff), (unsigned)(nic >> 32 & 0xff),
           (unsigned)(nic >> 24 & 0xff), (unsigned)(nic >> 16 & 0xff), (unsigned)(nic >> 8 & 0xff),
           (unsigned)(nic & 0xff));
  return text;
}

/* Reads a NIC id: six bytes in hexadecimal, with colons between. */
static inline int read_nic(const char *text, uint64_t *nic) {
  unsigned byte[6];
  int i, used = 0;
  int bytes = sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", byte, byte + 1, byte + 2, byte + 3, byte + 4, byte + 5, &used);
  if (bytes != 6 || text[used] != '\0') return 0;
  for (*nic = 0, i = 0; i < 6; i++) *nic = *nic << 8 | byte[i];
  return 1;
}

/* -b, -d, -e, -f, -r, -w, -h: whether `option` was one of them. */
static inline int read_ends(struct ends *ends, int option, const char *text) {
  switch (option) {
    case 'b': ends->board = number(option, text); return 1;
    case 'd': ends->host = text; return 1;
    case 'e': ends->local = number(option, text); return 1;
    case 'f': ends->key = number(option, text); return 1;
    case 'r': ends->remote = number(option, text); return 1;
    case 'w': ends->blocking = 1; return 1;
    case 'h': help(); return 1;
    default: return 0;
  }
}

/* -n, of tools that know one's own board by its NIC id too; overrides -b. */
static inline void read_own_nic(struct ends *ends, const char *text) {
  uint64_t nic;
  if (!read_nic(text, &nic)) wrong("-n: a NIC id is six bytes in hexadecimal, with colons between");
  ends->nic = text;
}

/* The NIC id of a host. Waits a while for one that is not known yet; ends the program when it stays so. */
static inline uint64_t find_host(const char *host) {
  char name[MX_MAX_HOSTNAME_LEN];
  uint64_t nic = 0;
  int tries = 0;
  if (strlen(host) >= sizeof name) wrong("the name of a host has at most 79 bytes");
  strcpy(name, host);
  mx_set_error_handler(MX_ERRORS_RETURN);
  while (mx_hostname_to_nic_id(name, &nic) == MX_HOST_NOT_FOUND && tries++ < TOOL_TRIES) usleep(TOOL_PAUSE_US);
  mx_set_error_handler(MX_ERRORS_ARE_FATAL);
  mx_hostname_to_nic_id(name, &nic);
  return nic;
}

/* As find_host, for one that is named by its NIC id. */
static inline uint64_t find_nic(uint64_t nic) {
  char name[MX_MAX_HOSTNAME_LEN];
  int tries = 0;
  mx_set_error_handler(MX_ERRORS_RETURN);
  while (mx_nic_id_to_hostname(nic, name) == MX_NIC_NOT_FOUND && tries++ < TOOL_TRIES) usleep(TOOL_PAUSE_US);
  mx_set_error_handler(MX_ERRORS_ARE_FATAL);
  mx_nic_id_to_hostname(nic, name);
  return nic;
}

static inline double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Whom the tool talks to, once it knows. A receive of MX is from anybody, and does not end with its partner. */
static struct {
  int known;
  mx_endpoint_addr_t address;
  uint32_t key;
} tool_partner;

static inline void talk_to(mx_endpoint_addr_t address, uint32_t key) {
  tool_partner.known = 1;
  tool_partner.address = address;
  tool_partner.key = key;
}

/* The one that it has talked to may go. */
static inline void forget_partner(void) { tool_partner.known = 0; }

static inline void partner_has_gone(void) { fail("the partner has gone in the middle of it"); }

/* Ends the program if the partner is not there any more. */
static inline void look_after_partner(mx_endpoint_t ep) {
  uint64_t nic;
  uint32_t number, before, after = 0, result = 0;
  mx_request_t request;
  mx_status_t status;
  if (!tool_partner.known) return;
  mx_decompose_endpoint_addr2(tool_partner.address, &nic, &number, &before);
  /* It has closed, or its host has said so. */
  if (before == 0) partner_has_gone();
  mx_iconnect(ep, nic, number, tool_partner.key, 0, NULL, &request);
  mx_set_request_timeout(ep, request, TOOL_ANSWER_MS);
  while (!result) mx_wait(ep, &request, MX_INFINITE, &status, &result);
  if (status.code == MX_STATUS_SUCCESS) mx_decompose_endpoint_addr2(status.source, &nic, &number, &after);
  /* There may be another one in its place. */
  if (after != before) partner_has_gone();
}

/* For loops that look again and again: whether they have done so for long, and are to look after the partner. */
struct patience {
  uint32_t looks;
  double since;
};
static inline int is_over(struct patience *patience) {
  double now;
  if (++patience->looks % 16384 != 0) return 0;
  now = seconds();
  if (patience->since > 0 && now - patience->since < TOOL_SILENCE_MS / 1e3) return 0;
  if (patience->since == 0) {
    patience->since = now;
    return 0;
  }
  patience->since = now;
  return 1;
}

/* One's own endpoint; where `any`, one without a number of its own may have any. */
static inline mx_endpoint_t open_own(const struct ends *ends, int any) {
  mx_endpoint_t ep;
  uint32_t own = !any && ends->local == MX_ANY_ENDPOINT ? TOOL_ENDPOINT : ends->local, board = ends->board;
  uint64_t nic;
  if (ends->nic != NULL && read_nic(ends->nic, &nic)) mx_nic_id_to_board_number(nic, &board);
  mx_open_endpoint(board, own, ends->key, NULL, 0, &ep);
  return ep;
}

/* The endpoint that -d and -r name. Waits a while for one that is not open yet, as above. */
static inline mx_endpoint_addr_t reach(mx_endpoint_t ep, const struct ends *ends) {
  uint64_t nic;
  mx_endpoint_addr_t to;
  int tries = 0;
  nic = read_nic(ends->host, &nic) ? find_nic(nic) : find_host(ends->host);
  mx_set_error_handler(MX_ERRORS_RETURN);
  while (mx_connect(ep, nic, ends->remote, ends->key, 1000, &to) == MX_CONNECTION_FAILED && tries++ < TOOL_TRIES) {
    usleep(TOOL_PAUSE_US);
  }
  mx_set_error_handler(MX_ERRORS_ARE_FATAL);
  mx_connect(ep, nic, ends->remote, ends->key, MX_INFINITE, &to);
  talk_to(to, ends->key);
  return to;
}

/* The endpoint itself, as one that can be sent to. */
static inline mx_endpoint_addr_t reach_self(mx_endpoint_t ep, uint32_t key) {
  mx_endpoint_addr_t own;
  uint32_t id;
  uint64_t nic;
  mx_get_endpoint_addr(ep, &own);
  mx_decompose_endpoint_addr(own, &nic, &id);
  mx_connect(ep, nic, id, key, MX_INFINITE, &own);
  return own;
}

/* The end of a request, whatever it is. */
static inline mx_status_t end_of(mx_endpoint_t ep, mx_request_t *request, int blocking) {
  mx_status_t status;
  uint32_t result = 0;
  struct patience patience = {0, 0};
  for (;;) {
    if (blocking) {
      mx_wait(ep, request, TOOL_SILENCE_MS, &status, &result);
    } else {
      mx_test(ep, request, &status, &result);
    }
    if (result) return status;
    if (blocking || is_over(&patience)) look_after_partner(ep);
  }
}

/* The end of a request that has to succeed. */
static inline mx_status_t finish(mx_endpoint_t ep, mx_request_t *request, int blocking) {
  mx_status_t status = end_of(ep, request, blocking);
  if (status.code != MX_STATUS_SUCCESS) fail(mx_strstatus(status.code));
  return status;
}

static inline mx_request_t post_send(mx_endpoint_t ep, mx_endpoint_addr_t to, uint64_t info, void *at,
                                     uint32_t length) {
  mx_segment_t one;
  mx_request_t request;
  one.segment_ptr = at;
  one.segment_length = length;
  mx_isend(ep, &one, 1, to, info, NULL, &request);
  return request;
}

static inline mx_request_t post_receive(mx_endpoint_t ep, uint64_t info, void *at, uint32_t length) {
  mx_segment_t one;
  mx_request_t request;
  one.segment_ptr = at;
  one.segment_length = length;
  mx_irecv(ep, &one, 1, info, MX_MATCH_MASK_NONE, NULL, &request);
  return request;
}

/* Memory that has been touched; never NULL. The caller frees it. */
static inline unsigned char *room(size_t length) {
  unsigned char *at = malloc(length + 1);
  if (at == NULL) fail("no memory");
  memset(at, 0x5a, length + 1);
  return at;
}

/* The contents of message number `seed`: neighbouring messages, and neighbouring bytes of one, differ. */
static inline void fill(unsigned char *at, uint32_t length, uint32_t seed) {
  uint32_t i;
  for (i = 0; i < length; i++) at[i] = (unsigned char)(seed * 31 + i * 7 + (i >> 8));
}

/* The first byte that is not as `fill` made it; `length` when there is none. */
static inline uint32_t first_wrong(const unsigned char *at, uint32_t length, uint32_t seed) {
  uint32_t i;
  for (i = 0; i < length; i++) {
    if (at[i] != (unsigned char)(seed * 31 + i * 7 + (i >> 8))) return i;
  }
  return length;
}

/* Lengths from first to last: each a factor longer or, where only a step was given, that apart. */
struct lengths {
  uint32_t first, last, step;
  double factor;
  int by_factor;
};

/* -S, -E, -I, -M: whether `option` was one of them. */
static inline int read_lengths(struct lengths *lengths, int option, const char *text) {
  char *rest;
  switch (option) {
    case 'S': lengths->first = number(option, text); return 1;
    case 'E': lengths->last = number(option, text); return 1;
    case 'I': lengths->step = number(option, text); return 1;
    case 'M':
      lengths->factor = strtod(text, &rest);
      /* Written so that what is not a number fails too. */
      lengths->by_factor = 1;
      if (rest == text || *rest != '\0' || !(lengths->factor > 1.0)) wrong("-M: the factor has to be more than 1");
      return 1;
    default: return 0;
  }
}

/* Goes on to the next length; 0 after the last. */
static inline int next_length(const struct lengths *lengths, uint32_t *length) {
  double larger = lengths->step > 0 && !lengths->by_factor ? (double)*length + lengths->step : *length * lengths->factor;
  if (larger < (double)*length + 1) larger = (double)*length + 1;
  if (larger > (double)lengths->last) return 0;
  *length = (uint32_t)larger;
  return 1;
}

#endif
