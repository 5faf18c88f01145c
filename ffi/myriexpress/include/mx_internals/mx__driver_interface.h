/*
 * A name under which programs look for mx__get_mapper_state, which mx_io.h declares.
 *
 * Apache-2.0 OR MIT.
 */
#ifndef MX__DRIVER_INTERFACE_H
#define MX__DRIVER_INTERFACE_H

#include "../mx_io.h"

#endif
