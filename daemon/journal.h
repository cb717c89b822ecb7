/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "manager.h"

/* EXEC_LEDGER: the rows of the history above this number, newest first. 0, negative errno. */
int journal_rows_read(PmlLedger *ledger, int64_t after, JournalRows *ret);
void journal_rows_clear(JournalRows *j);
/* Main thread: each as one line of the journal, oldest first. */
void journal_rows_write(Manager *m, const JournalRows *j);
