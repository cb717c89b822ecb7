/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "manager.h"

/* After an object's `changed` was set: its PropertiesChanged is sent soon. */
void announce_later(Manager *m);
/* Sends what is due: before what must not overtake it. */
void announce_now(Manager *m);
