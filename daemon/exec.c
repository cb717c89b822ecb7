/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "exec.h"
#include "util.h"

typedef struct Item Item;
typedef struct Pool Pool;

struct Item {
	Item *next;
	Pool *pool; /* NULL: posted */
	char *key;
	ExecRun run;
	ExecDone done;
	void (*fn)(void *data);
	void *data;
	int r;
};

typedef struct Queue {
	Item *first, *last;
} Queue;

struct Pool {
	Executors *x;
	unsigned keep; /* threads that stay when there is nothing to do */
	unsigned max;
	unsigned n_threads, n_idle, n_queued, n_running;
	Queue queue;
	Item *running; /* those with a key */
	pthread_cond_t work;
};

struct Executors {
	pthread_mutex_t lock; /* guards everything below but event and source */
	Pool pools[_EXEC_MAX];
	Queue results;
	bool closing;
	unsigned refs; /* the owner and each thread: a thread that hangs in the kernel must not find
			  this freed */
	pthread_cond_t idle;
	int efd;
	sd_event_source *source;
};

/*
 * Nothing that comes late may wait for something that hangs, so fence and urgent grow with what is
 * asked. The bound on each is only against a machine that runs out of threads.
 */
static const struct {
	unsigned keep, max;
} pool_sizes[_EXEC_MAX] = {
	[EXEC_LEDGER] = {1, 1},
	[EXEC_VIRT] = {2, 32},
	[EXEC_URGENT] = {2, 128},
	[EXEC_FENCE] = {2, 128},
	[EXEC_WORK] = {2, 32},
};

static void queue_push(Queue *q, Item *item)
{
	item->next = NULL;
	if (q->last)
		q->last->next = item;
	else
		q->first = item;
	q->last = item;
}

static Item *queue_take(Queue *q, Item *prev, Item *item)
{
	if (prev)
		prev->next = item->next;
	else
		q->first = item->next;
	if (q->last == item)
		q->last = prev;
	item->next = NULL;
	return item;
}

static Item *item_free(Item *item)
{
	if (!item)
		return NULL;
	free(item->key);
	free(item);
	return NULL;
}

static void executors_unref_locked(Executors *x)
{
	bool last = --x->refs == 0;
	Item *item;

	pthread_mutex_unlock(&x->lock);
	if (!last)
		return;
	while ((item = x->results.first))
		item_free(queue_take(&x->results, NULL, item));
	for (unsigned i = 0; i < _EXEC_MAX; i++) {
		while ((item = x->pools[i].queue.first))
			item_free(queue_take(&x->pools[i].queue, NULL, item));
		pthread_cond_destroy(&x->pools[i].work);
	}
	pthread_cond_destroy(&x->idle);
	pthread_mutex_destroy(&x->lock);
	if (x->efd >= 0)
		close(x->efd);
	free(x);
}

static void results_push_locked(Executors *x, Item *item)
{
	uint64_t one = 1;
	ssize_t n;

	queue_push(&x->results, item);
	/* A counter at its limit is readable already, which is all that is wanted. */
	n = write(x->efd, &one, sizeof(one));
	(void)n;
}

static bool key_is_running(const Pool *p, const char *key)
{
	for (const Item *i = p->running; i; i = i->next)
		if (strcmp(i->key, key) == 0)
			return true;
	return false;
}

/* The oldest item whose key nobody runs: queue order within a key follows from looking from the
 * front. */
static Item *pool_next_locked(Pool *p)
{
	Item *prev = NULL;

	for (Item *i = p->queue.first; i; prev = i, i = i->next)
		if (!i->key || !key_is_running(p, i->key)) {
			p->n_queued--;
			return queue_take(&p->queue, prev, i);
		}
	return NULL;
}

static void running_remove_locked(Pool *p, Item *item)
{
	for (Item **i = &p->running; *i; i = &(*i)->next)
		if (*i == item) {
			*i = item->next;
			item->next = NULL;
			return;
		}
}

static void pool_run_locked(Pool *p, Item *item)
{
	Executors *x = p->x;

	if (item->key) {
		item->next = p->running;
		p->running = item;
	}
	p->n_running++;
	pthread_mutex_unlock(&x->lock);
	item->r = item->run(item->data);
	pthread_mutex_lock(&x->lock);
	p->n_running--;
	if (item->key) {
		running_remove_locked(p, item);
		/* What waited for this key may be run by a thread that found nothing to do. */
		pthread_cond_broadcast(&p->work);
	}
	results_push_locked(x, item);
}

static void *pool_thread(void *userdata)
{
	Pool *p = userdata;
	Executors *x = p->x;

	pthread_mutex_lock(&x->lock);
	for (;;) {
		Item *item = pool_next_locked(p);

		if (item) {
			pool_run_locked(p, item);
			continue;
		}
		if (x->closing || (p->n_queued == 0 && p->n_idle >= p->keep))
			break;
		p->n_idle++;
		pthread_cond_wait(&p->work, &x->lock);
		p->n_idle--;
	}
	p->n_threads--;
	pthread_cond_broadcast(&x->idle);
	executors_unref_locked(x);
	return NULL;
}

static int pool_spawn_locked(Pool *p)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int r;

	r = pthread_attr_init(&attr);
	if (r != 0)
		return -r;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* Signals belong to the event loop's signalfd. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, &attr, pool_thread, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r != 0)
		return -r;
	p->n_threads++;
	p->x->refs++;
	return 0;
}

/* One batch: what a result submits anew is for the next turn, so that the loop's other sources get
 * theirs. */
static int on_results(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	Executors *x = userdata;
	uint64_t count;
	Queue batch;
	Item *item;

	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	pthread_mutex_lock(&x->lock);
	batch = x->results;
	x->results = (Queue){};
	pthread_mutex_unlock(&x->lock);

	while ((item = batch.first)) {
		queue_take(&batch, NULL, item);
		if (item->fn)
			item->fn(item->data);
		else if (item->done)
			item->done(item->data, item->r);
		item_free(item);
	}
	return 0;
}

int executors_new(sd_event *event, Executors **ret)
{
	Executors *x = calloc(1, sizeof(*x));
	int r = 0;

	if (!x)
		return -ENOMEM;
	x->refs = 1;
	x->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (x->efd < 0)
		r = -errno;
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->idle, NULL);
	for (unsigned i = 0; i < _EXEC_MAX; i++) {
		x->pools[i].x = x;
		x->pools[i].keep = pool_sizes[i].keep;
		x->pools[i].max = pool_sizes[i].max;
		pthread_cond_init(&x->pools[i].work, NULL);
	}
	if (r == 0)
		r = sd_event_add_io(event, &x->source, x->efd, EPOLLIN, on_results, x);

	/* Made while there is memory: the way to the fence must not depend on a new thread. */
	pthread_mutex_lock(&x->lock);
	for (unsigned i = 0; r == 0 && i < _EXEC_MAX; i++)
		for (unsigned k = 0; r == 0 && k < pool_sizes[i].keep; k++)
			r = pool_spawn_locked(&x->pools[i]);
	pthread_mutex_unlock(&x->lock);
	if (r < 0) {
		executors_free(x);
		return r;
	}
	*ret = x;
	return 0;
}

bool executors_close(Executors *x)
{
	unsigned n_running = 0;

	x->source = sd_event_source_disable_unref(x->source);
	pthread_mutex_lock(&x->lock);
	/* The ledger's transactions are run to the last one; of the other pools nothing new is
	 * begun. */
	for (unsigned i = 0; i < _EXEC_MAX; i++) {
		Pool *p = &x->pools[i];
		Item *item;

		while (i != EXEC_LEDGER && (item = p->queue.first)) {
			item_free(queue_take(&p->queue, NULL, item));
			p->n_queued--;
		}
	}
	x->closing = true;
	for (unsigned i = 0; i < _EXEC_MAX; i++)
		pthread_cond_broadcast(&x->pools[i].work);
	while (x->pools[EXEC_LEDGER].n_threads > 0)
		pthread_cond_wait(&x->idle, &x->lock);
	for (unsigned i = 0; i < _EXEC_MAX; i++)
		n_running += x->pools[i].n_running;
	pthread_mutex_unlock(&x->lock);
	return n_running > 0;
}

Executors *executors_free(Executors *x)
{
	if (!x)
		return NULL;
	(void)executors_close(x);
	pthread_mutex_lock(&x->lock);
	executors_unref_locked(x);
	return NULL;
}

int exec_submit(
	Executors *x, ExecWhere where, const char *key, ExecRun run, ExecDone done, void *data)
{
	Pool *p = &x->pools[where];
	Item *item = calloc(1, sizeof(*item));
	int r = 0;

	if (!item)
		return -ENOMEM;
	item->pool = p;
	item->run = run;
	item->done = done;
	item->data = data;
	if (key) {
		item->key = strdup(key);
		if (!item->key) {
			item_free(item);
			return -ENOMEM;
		}
	}

	pthread_mutex_lock(&x->lock);
	queue_push(&p->queue, item);
	p->n_queued++;
	if (p->n_queued > p->n_idle && p->n_threads < p->max)
		r = pool_spawn_locked(p);
	/* Without a new thread an old one takes it, later; with none at all nobody ever would. */
	if (r < 0 && p->n_threads > 0)
		r = 0;
	if (r < 0) {
		Item *prev = NULL;

		for (Item *i = p->queue.first; i != item; i = i->next)
			prev = i;
		queue_take(&p->queue, prev, item);
		p->n_queued--;
	}
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&x->lock);
	if (r < 0)
		item_free(item);
	return r;
}

int exec_post(Executors *x, void (*fn)(void *data), void *data)
{
	Item *item = calloc(1, sizeof(*item));

	if (!item)
		return -ENOMEM;
	item->fn = fn;
	item->data = data;
	pthread_mutex_lock(&x->lock);
	results_push_locked(x, item);
	pthread_mutex_unlock(&x->lock);
	return 0;
}
