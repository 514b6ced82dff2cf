/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "pgbox-notify-file.h"
#include "pgbox-notify-watch-private.h"

/* RFC 2177: clients end IDLE and begin it anew at least every 29 minutes. A
   file that nobody has asked for that long is of no use. Should somebody watch
   it all the same, he is woken by its end and asks for another. */
#define WATCH_FILE_MAX_SECS (31 * 60)
#define WATCH_EXPIRE_INTERVAL_MSECS (60 * 1000)

/*
 * Targets
 */

static unsigned int mailbox_id_hash(const int64_t *id)
{
	return (unsigned int)*id ^ (unsigned int)(*id >> 32);
}

static int mailbox_id_cmp(const int64_t *id1, const int64_t *id2)
{
	return *id1 == *id2 ? 0 : 1;
}

struct pgbox_watch_target *
pgbox_watch_target_find(struct pgbox_watches *watches,
			const struct pgbox_watch_key *key)
{
	if (key->mailbox_id != 0)
		return hash_table_lookup(watches->mailboxes, &key->mailbox_id);
	return hash_table_lookup(watches->accounts, key->account);
}

static struct pgbox_watch_target *
target_create(struct pgbox_watches *watches, const struct pgbox_watch_key *key)
{
	struct pgbox_watch_target *target = i_new(struct pgbox_watch_target, 1);

	target->watches = watches;
	target->account = i_strdup(key->account);
	target->key.mailbox_id = key->mailbox_id;
	target->key.account = target->account;
	target->last_watched = ioloop_time;
	/* to be asked for by the check that is under way, too */
	target->checked = watches->check - 1;
	DLLIST2_PREPEND(&watches->targets_head, &watches->targets_tail,
			target);
	if (key->mailbox_id != 0) {
		hash_table_insert(watches->mailboxes, &target->key.mailbox_id,
				  target);
	} else {
		hash_table_insert(watches->accounts, target->account, target);
	}
	return target;
}

static void target_free(struct pgbox_watch_target *target)
{
	struct pgbox_watches *watches = target->watches;

	i_assert(target->sessions == NULL);

	if (target->key.mailbox_id != 0)
		hash_table_remove(watches->mailboxes, &target->key.mailbox_id);
	else
		hash_table_remove(watches->accounts, target->key.account);
	DLLIST2_REMOVE(&watches->targets_head, &watches->targets_tail, target);
	i_free(target->account);
	i_free(target);
}

/* Without sessions a target is kept as long as its file. */
static void target_release(struct pgbox_watch_target *target)
{
	target->last_watched = ioloop_time;
	if (target->sessions == NULL && !target->have_file)
		target_free(target);
}

void pgbox_watch_target_wake(struct pgbox_watch_target *target, bool anyway)
{
	struct pgbox_watch *watch;

	if (target->have_file) T_BEGIN {
		pgbox_notify_file_write(target->watches->dir,
					target->key.mailbox_id, target->modseq);
	} T_END;
	for (watch = target->sessions; watch != NULL; watch = watch->next)
		pgbox_watch_wake(watch, anyway);
	pgbox_watches_wake_next(target->watches);
}

void pgbox_watch_target_signal(struct pgbox_watch_target *target, uint64_t modseq)
{
	if (modseq != 0 && modseq <= target->modseq)
		return;
	if (modseq != 0)
		target->modseq = modseq;
	pgbox_watch_target_wake(target, modseq == 0);
}

static void
target_found_file(int64_t mailbox_id, uint64_t modseq, time_t mtime,
		  void *context)
{
	struct pgbox_watches *watches = context;
	const struct pgbox_watch_key key = { .mailbox_id = mailbox_id };
	struct pgbox_watch_target *target = target_create(watches, &key);

	target->modseq = modseq;
	target->last_watched = mtime;
	target->have_file = TRUE;
}

static void watches_expire(struct pgbox_watches *watches)
{
	struct pgbox_watch_target *target, *next;

	for (target = watches->targets_head; target != NULL; target = next) {
		next = target->next;
		if (target->sessions != NULL ||
		    ioloop_time - target->last_watched < WATCH_FILE_MAX_SECS)
			continue;
		T_BEGIN {
			pgbox_notify_file_unlink(watches->dir,
						 target->key.mailbox_id);
		} T_END;
		target_free(target);
	}
}

/*
 * Sessions
 */

struct pgbox_watch *
pgbox_watch_add(struct pgbox_watches *watches,
		const struct pgbox_watch_key *key, uint64_t modseq,
		void *context)
{
	struct pgbox_watch_target *target = pgbox_watch_target_find(watches, key);
	struct pgbox_watch *watch;

	if (target == NULL) {
		target = target_create(watches, key);
		target->modseq = modseq;
	} else if (key->mailbox_id != 0 && modseq != 0) {
		/* this session knows what others don't */
		pgbox_watch_target_signal(target, modseq);
	}
	if (key->mailbox_id != 0 && watches->dir != NULL &&
	    !target->have_file) {
		target->have_file =
			pgbox_notify_file_create(watches->dir, key->mailbox_id,
						 target->modseq);
	}
	watch = i_new(struct pgbox_watch, 1);
	watch->target = target;
	watch->context = context;
	DLLIST_PREPEND(&target->sessions, watch);
	target->last_watched = ioloop_time;
	if (key->mailbox_id != 0 && modseq < target->modseq) {
		pgbox_watch_wake(watch, FALSE);
		pgbox_watches_wake_next(watches);
	}
	return watch;
}

void pgbox_watch_remove(struct pgbox_watch **_watch)
{
	struct pgbox_watch *watch = *_watch;
	struct pgbox_watch_target *target = watch->target;
	struct pgbox_watches *watches = target->watches;
	bool told = watch->state != WATCH_IDLE || watch->failed;

	*_watch = NULL;
	pgbox_watch_end_turn(watch);
	DLLIST_REMOVE(&target->sessions, watch);
	i_free(watch);
	/* If it went to sleep before it read that it is to look, or couldn't
	   look, only the file can tell it now. */
	if (told && target->have_file) T_BEGIN {
		pgbox_notify_file_write(watches->dir, target->key.mailbox_id,
					target->modseq);
	} T_END;
	target_release(target);
	pgbox_watches_wake_next(watches);
}

const char *pgbox_watch_get_path(struct pgbox_watch *watch)
{
	if (!watch->target->have_file)
		return NULL;
	return pgbox_notify_file_path(watch->target->watches->dir,
				      watch->target->key.mailbox_id);
}

/*
 * Signals
 */

static void watches_signal_all(struct pgbox_watches *watches)
{
	struct pgbox_watch_target *target;

	for (target = watches->targets_head; target != NULL;
	     target = target->next)
		pgbox_watch_target_wake(target, TRUE);
}

void pgbox_watches_signal(struct pgbox_watches *watches,
			  const struct pgbox_signal *signal)
{
	struct pgbox_watch_target *target;

	if (signal->mailbox_id == 0 && *signal->account == '\0') {
		watches_signal_all(watches);
		return;
	}
	if (signal->mailbox_id != 0) {
		target = hash_table_lookup(watches->mailboxes,
					   &signal->mailbox_id);
		if (target != NULL)
			pgbox_watch_target_signal(target, signal->modseq);
	}
	target = hash_table_lookup(watches->accounts, signal->account);
	if (target != NULL)
		pgbox_watch_target_wake(target, TRUE);
}

/*
 * All
 */

struct pgbox_watches *
pgbox_watches_init(struct pgbox_notify_dir *dir, unsigned int max_waking,
		   pgbox_watch_look_t *look)
{
	struct pgbox_watches *watches = i_new(struct pgbox_watches, 1);

	watches->dir = dir;
	watches->max_waking = max_waking;
	watches->look = look;
	watches->check = 1;
	hash_table_create(&watches->mailboxes, default_pool, 0,
			  mailbox_id_hash, mailbox_id_cmp);
	hash_table_create(&watches->accounts, default_pool, 0,
			  str_hash, strcmp);
	if (dir != NULL)
		pgbox_notify_dir_scan(dir, target_found_file, watches);
	watches->to_expire = timeout_add(WATCH_EXPIRE_INTERVAL_MSECS,
					 watches_expire, watches);
	return watches;
}

void pgbox_watches_deinit(struct pgbox_watches **_watches)
{
	struct pgbox_watches *watches = *_watches;

	*_watches = NULL;
	timeout_remove(&watches->to_waking);
	timeout_remove(&watches->to_expire);
	while (watches->targets_head != NULL)
		target_free(watches->targets_head);
	hash_table_destroy(&watches->mailboxes);
	hash_table_destroy(&watches->accounts);
	i_free(watches);
}
