/*
 * A name under which programs look for mx_open_board, which mx_io.h declares.
 *
 * Apache-2.0 OR MIT.
 */
#ifndef MX__FOPS_H
#define MX__FOPS_H

#include "../mx_io.h"

#endif
