/*
 * What some programs ask of a board below the MX programming interface: which network it is on.
 *
 * Apache-2.0 OR MIT.
 */
#ifndef MX_IO_H
#define MX_IO_H

#include "myriexpress.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A board that was opened for this; there is nothing to close. */
typedef int mx_endpt_handle_t;
#define MX__INVALID_HANDLE (-1)

/* The MAC address is the same for all boards of a partition, and no other's. */
typedef struct {
  uint32_t board_number;
  uint8_t mapper_mac[6];
  uint16_t iport;
  uint32_t map_version;
  uint32_t num_hosts;
  uint32_t network_configured;
  uint32_t routes_valid;
  uint32_t level;
  uint32_t flags;
} mx_mapper_state_t;

mx_return_t mx_open_board(int board_number, mx_endpt_handle_t *handle);
mx_return_t mx__get_mapper_state(mx_endpt_handle_t handle, mx_mapper_state_t *state);

#ifdef __cplusplus
}
#endif

#if defined(__GNUC__) || defined(__clang__)
MX__IS(board, sizeof(mx_endpt_handle_t) == 4);
MX__IS(mapper_state, sizeof(mx_mapper_state_t) == 36 && __builtin_offsetof(mx_mapper_state_t, board_number) == 0 &&
                         __builtin_offsetof(mx_mapper_state_t, mapper_mac) == 4 &&
                         __builtin_offsetof(mx_mapper_state_t, iport) == 10 &&
                         __builtin_offsetof(mx_mapper_state_t, map_version) == 12 &&
                         __builtin_offsetof(mx_mapper_state_t, num_hosts) == 16 &&
                         __builtin_offsetof(mx_mapper_state_t, network_configured) == 20 &&
                         __builtin_offsetof(mx_mapper_state_t, routes_valid) == 24 &&
                         __builtin_offsetof(mx_mapper_state_t, level) == 28 &&
                         __builtin_offsetof(mx_mapper_state_t, flags) == 32);
#endif

#endif
