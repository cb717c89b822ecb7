/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "manager.h"

/* Reads the command line into *config, which borrows its strings. 1: run; 0: it was answered;
 * negative errno: it was wrong, and said so. */
int options_parse(int argc, char *argv[], Config *config);
