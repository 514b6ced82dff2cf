/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* What changed in an account, for IMAP NOTIFY. The account's tree tells names
   and counters of all mailboxes in one statement, so the changes are what two
   of its states differ in. Mailboxes are the same if their ids are: a renamed
   one is no new one. */

#include "lib.h"
#include "array.h"
#include "guid.h"
#include "mailbox-tree.h"
#include "pgbox-list.h"
#include "pgbox-list-tree.h"
#include "pgbox-list-watch.h"
#include "pgbox-list-notify.h"

#define NOTIFY_SUBSCRIPTIONS \
	(MAILBOX_LIST_NOTIFY_SUBSCRIBE | MAILBOX_LIST_NOTIFY_UNSUBSCRIBE)

/* A state of the account. Not a reference to the list's tree: as long as that
   has any it answers questions about listed mailboxes. */
struct notify_state {
	pool_t pool;
	/* mailboxes and nodes sorted by id; names are storage names */
	ARRAY_TYPE(pgbox_mailbox_row) rows;
	/* sorted; empty if nobody wants to know of subscriptions */
	ARRAY_TYPE(const_string) subscribed_vnames;
};

struct pgbox_list_notify {
	struct mailbox_list_notify notify;
	struct pgbox_list_watcher watcher;
	/* NULL: none, or no longer */
	void (*callback)(void *context);
	void *context;

	/* the last one read */
	struct notify_state *state;
	/* how it differs from that before it, allocated from its pool */
	ARRAY(struct mailbox_list_notify_rec) recs;
	/* of these the reader has so many */
	unsigned int next_idx;

	/* there may be a newer state */
	bool changed:1;
};

#define PGBOX_LIST_NOTIFY(s) \
	container_of(s, struct pgbox_list_notify, notify)

/* A mailbox in two states; NULL where it isn't in one. */
struct notify_pair {
	const struct pgbox_mailbox_row *old, *new;
};
ARRAY_DEFINE_TYPE(notify_pair, struct notify_pair);

/*
 * The state
 */

static int row_id_cmp(const struct pgbox_mailbox_row *row1,
		      const struct pgbox_mailbox_row *row2)
{
	if (row1->mailbox_id == row2->mailbox_id)
		return 0;
	return row1->mailbox_id < row2->mailbox_id ? -1 : 1;
}

static void state_add_tree(struct notify_state *state, struct pgbox_tree *tree)
{
	struct pgbox_tree_node *node;
	struct pgbox_mailbox_row *row;

	array_foreach_elem(&tree->nodes, node) {
		if (node->row.mailbox_id == 0)
			continue;
		row = array_append_space(&state->rows);
		*row = node->row;
		row->name = p_strdup(state->pool, node->row.name);
		row->special_use = NULL;
	}
	array_sort(&state->rows, row_id_cmp);
}

static void
state_add_subscriptions(struct notify_state *state,
			struct mailbox_tree_context *subscriptions)
{
	struct mailbox_tree_iterate_context *iter;
	const char *vname;

	iter = mailbox_tree_iterate_init(subscriptions, NULL,
					 MAILBOX_SUBSCRIBED);
	while (mailbox_tree_iterate_next(iter, &vname) != NULL) {
		vname = p_strdup(state->pool, vname);
		array_push_back(&state->subscribed_vnames, &vname);
	}
	mailbox_tree_iterate_deinit(&iter);
	array_sort(&state->subscribed_vnames, i_strcmp_p);
}

static void state_free(struct notify_state **_state)
{
	struct notify_state *state = *_state;

	*_state = NULL;
	if (state != NULL)
		pool_unref(&state->pool);
}

/* Returns NULL if it can't be read. */
static struct notify_state *state_read(struct pgbox_list_notify *notify)
{
	struct mailbox_list *list = notify->notify.list;
	struct notify_state *state;
	pool_t pool;

	if (pgbox_list_refresh(PGBOX_LIST(list)) < 0)
		return NULL;
	/* no second round trip, unless they are in another namespace */
	if ((notify->notify.mask & NOTIFY_SUBSCRIPTIONS) != 0 &&
	    mailbox_list_iter_subscriptions_refresh(list) < 0)
		return NULL;

	pool = pool_alloconly_create(MEMPOOL_GROWING"pgbox list notify", 4096);
	state = p_new(pool, struct notify_state, 1);
	state->pool = pool;
	p_array_init(&state->rows, pool, 64);
	p_array_init(&state->subscribed_vnames, pool, 8);
	state_add_tree(state, PGBOX_LIST(list)->tree);
	if ((notify->notify.mask & NOTIFY_SUBSCRIPTIONS) != 0)
		state_add_subscriptions(state, list->subscriptions);
	return state;
}

/*
 * What differs
 */

static struct mailbox_list_notify_rec *
notify_add(struct pgbox_list_notify *notify,
	   enum mailbox_list_notify_event events)
{
	struct mailbox_list_notify_rec *rec;

	events &= notify->notify.mask;
	if (events == 0)
		return NULL;
	rec = array_append_space(&notify->recs);
	rec->events = events;
	return rec;
}

static const char *
notify_get_vname(struct pgbox_list_notify *notify, const char *name)
{
	const char *vname;

	T_BEGIN {
		vname = p_strdup(notify->state->pool,
			mailbox_list_get_vname(notify->notify.list, name));
	} T_END;
	return vname;
}

static void
notify_add_row(struct pgbox_list_notify *notify,
	       const struct pgbox_mailbox_row *row, const char *old_name,
	       enum mailbox_list_notify_event events)
{
	struct mailbox_list_notify_rec *rec = notify_add(notify, events);

	if (rec == NULL)
		return;
	rec->storage_name = p_strdup(notify->state->pool, row->name);
	rec->vname = notify_get_vname(notify, row->name);
	if (old_name != NULL)
		rec->old_vname = notify_get_vname(notify, old_name);
	guid_128_copy(rec->guid, row->guid);
}

static void
notify_add_subscription(struct pgbox_list_notify *notify, const char *vname,
			enum mailbox_list_notify_event event)
{
	struct mailbox_list_notify_rec *rec = notify_add(notify, event);
	const char *name;

	if (rec == NULL)
		return;
	T_BEGIN {
		name = mailbox_list_get_storage_name(notify->notify.list,
						     vname);
		rec->storage_name = p_strdup(notify->state->pool, name);
	} T_END;
	rec->vname = p_strdup(notify->state->pool, vname);
}

static enum mailbox_list_notify_event
pair_get_status_events(const struct notify_pair *pair)
{
	static const struct pgbox_mailbox_row row_nothing;
	const struct pgbox_mailbox_row *new = pair->new;
	const struct pgbox_mailbox_row *old = pair->old;
	enum mailbox_list_notify_event events = 0;

	if (new == NULL || !new->selectable)
		return 0;
	if (old == NULL || !old->selectable) {
		/* all of a new mailbox is new */
		old = &row_nothing;
	}
	if (new->uidvalidity != old->uidvalidity)
		events |= MAILBOX_LIST_NOTIFY_UIDVALIDITY;
	if (new->uid_next != old->uid_next)
		events |= MAILBOX_LIST_NOTIFY_APPENDS;
	/* fewer than there were and came. UIDs that were never used look like
	   mails that came and went. */
	if (old != &row_nothing &&
	    (uint64_t)new->messages + old->uid_next <
	    (uint64_t)old->messages + new->uid_next)
		events |= MAILBOX_LIST_NOTIFY_EXPUNGES;
	if (new->unseen != old->unseen)
		events |= MAILBOX_LIST_NOTIFY_SEEN_CHANGES;
	if (new->highest_modseq > old->highest_modseq)
		events |= MAILBOX_LIST_NOTIFY_MODSEQ_CHANGES;
	return events;
}

static void
pairs_find(const struct notify_state *old, const struct notify_state *new,
	   ARRAY_TYPE(notify_pair) *pairs)
{
	const struct pgbox_mailbox_row *old_row, *new_row, *old_end, *new_end;
	struct notify_pair *pair;
	unsigned int count;
	int diff;

	old_row = array_get(&old->rows, &count);
	old_end = old_row + count;
	new_row = array_get(&new->rows, &count);
	new_end = new_row + count;
	while (old_row < old_end || new_row < new_end) {
		if (old_row == old_end)
			diff = 1;
		else if (new_row == new_end)
			diff = -1;
		else
			diff = row_id_cmp(old_row, new_row);
		pair = array_append_space(pairs);
		if (diff <= 0)
			pair->old = old_row++;
		if (diff >= 0)
			pair->new = new_row++;
	}
}

/* Deleted ones first, then renamed ones, then new ones: a name may be that of
   another mailbox before. */
static void
notify_add_names(struct pgbox_list_notify *notify,
		 const ARRAY_TYPE(notify_pair) *pairs)
{
	const struct notify_pair *pair;

	array_foreach(pairs, pair) {
		if (pair->new == NULL) {
			notify_add_row(notify, pair->old, NULL,
				       MAILBOX_LIST_NOTIFY_DELETE);
		}
	}
	array_foreach(pairs, pair) {
		if (pair->old != NULL && pair->new != NULL &&
		    strcmp(pair->old->name, pair->new->name) != 0) {
			notify_add_row(notify, pair->new, pair->old->name,
				       MAILBOX_LIST_NOTIFY_RENAME);
		}
	}
	array_foreach(pairs, pair) {
		if (pair->new != NULL &&
		    (pair->old == NULL ||
		     pair->old->selectable != pair->new->selectable)) {
			notify_add_row(notify, pair->new, NULL,
				       MAILBOX_LIST_NOTIFY_CREATE);
		}
	}
}

static void
notify_add_subscriptions(struct pgbox_list_notify *notify,
			 const struct notify_state *old)
{
	const ARRAY_TYPE(const_string) *olds = &old->subscribed_vnames;
	const ARRAY_TYPE(const_string) *news =
		&notify->state->subscribed_vnames;
	unsigned int old_idx = 0, new_idx = 0;
	int diff;

	while (old_idx < array_count(olds) || new_idx < array_count(news)) {
		if (old_idx == array_count(olds))
			diff = 1;
		else if (new_idx == array_count(news))
			diff = -1;
		else {
			diff = strcmp(array_idx_elem(olds, old_idx),
				      array_idx_elem(news, new_idx));
		}
		if (diff < 0) {
			notify_add_subscription(notify,
				array_idx_elem(olds, old_idx),
				MAILBOX_LIST_NOTIFY_UNSUBSCRIBE);
		} else if (diff > 0) {
			notify_add_subscription(notify,
				array_idx_elem(news, new_idx),
				MAILBOX_LIST_NOTIFY_SUBSCRIBE);
		}
		if (diff <= 0)
			old_idx++;
		if (diff >= 0)
			new_idx++;
	}
}

/* Each record has one kind of event, because a reader who wants one event of a
   record gets them all. */
static void notify_diff(struct pgbox_list_notify *notify,
			const struct notify_state *old)
{
	ARRAY_TYPE(notify_pair) pairs;
	const struct notify_pair *pair;

	i_array_init(&pairs, 64);
	pairs_find(old, notify->state, &pairs);
	notify_add_names(notify, &pairs);
	notify_add_subscriptions(notify, old);
	array_foreach(&pairs, pair) {
		notify_add_row(notify, pair->new, NULL,
			       pair_get_status_events(pair));
	}
	array_free(&pairs);
}

/* Replaces state and records. On error they stay. */
static int notify_read(struct pgbox_list_notify *notify)
{
	struct notify_state *state, *old_state = notify->state;

	if ((state = state_read(notify)) == NULL) {
		pgbox_list_watch_failed(PGBOX_LIST(notify->notify.list));
		return -1;
	}
	pgbox_list_watch_looked(PGBOX_LIST(notify->notify.list));
	notify->state = state;
	notify->changed = FALSE;
	notify->next_idx = 0;
	array_clear(&notify->recs);
	if (old_state != NULL)
		notify_diff(notify, old_state);
	state_free(&old_state);
	return 0;
}

/*
 * The reader
 */

static bool notify_is_being_read(const struct pgbox_list_notify *notify)
{
	return notify->next_idx > 0 &&
		notify->next_idx < array_count(&notify->recs);
}

/* Readers that were called and didn't read anything (virtual mailboxes) don't
   care what it was. Their records are replaced. */
static void notify_wake(struct pgbox_list_watcher *watcher)
{
	struct pgbox_list_notify *notify =
		container_of(watcher, struct pgbox_list_notify, watcher);

	notify->changed = TRUE;
	if (notify->callback == NULL)
		return;
	if (!notify_is_being_read(notify)) {
		if (notify_read(notify) < 0) {
			/* there will be another wake-up */
			return;
		}
		if (array_count(&notify->recs) == 0)
			return;
	}
	notify->callback(notify->context);
}

int pgbox_list_notify_init(struct mailbox_list *_list,
			   enum mailbox_list_notify_event mask,
			   struct mailbox_list_notify **notify_r)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(_list);
	struct pgbox_list_notify *notify;

	if (guid_128_is_empty(list->store_guid) &&
	    pgbox_list_refresh(list) < 0)
		return -1;

	notify = i_new(struct pgbox_list_notify, 1);
	notify->notify.list = _list;
	notify->notify.mask = mask;
	notify->watcher.wake = notify_wake;
	i_array_init(&notify->recs, 8);

	/* watched first and read then, so that nothing falls in between */
	pgbox_list_watch_add(list, &notify->watcher);
	pgbox_list_invalidate(list);
	if (notify_read(notify) < 0) {
		pgbox_list_notify_deinit(&notify->notify);
		return -1;
	}
	*notify_r = &notify->notify;
	return 0;
}

void pgbox_list_notify_deinit(struct mailbox_list_notify *_notify)
{
	struct pgbox_list_notify *notify = PGBOX_LIST_NOTIFY(_notify);

	pgbox_list_watch_remove(PGBOX_LIST(_notify->list), &notify->watcher);
	array_free(&notify->recs);
	state_free(&notify->state);
	i_free(notify);
}

int pgbox_list_notify_next(struct mailbox_list_notify *_notify,
			   const struct mailbox_list_notify_rec **rec_r)
{
	struct pgbox_list_notify *notify = PGBOX_LIST_NOTIFY(_notify);

	while (notify->next_idx >= array_count(&notify->recs)) {
		if (!notify->changed)
			return 0;
		if (notify_read(notify) < 0)
			return -1;
	}
	*rec_r = array_idx(&notify->recs, notify->next_idx++);
	return 1;
}

void pgbox_list_notify_wait(struct mailbox_list_notify *_notify,
			    void (*callback)(void *context), void *context)
{
	struct pgbox_list_notify *notify = PGBOX_LIST_NOTIFY(_notify);

	notify->callback = callback;
	notify->context = context;
	if (callback != NULL && notify->changed)
		pgbox_list_watch_wake_soon(PGBOX_LIST(_notify->list));
}

void pgbox_list_notify_flush(struct mailbox_list_notify *notify)
{
	pgbox_list_watch_wake(PGBOX_LIST(notify->list));
}
