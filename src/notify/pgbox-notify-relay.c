/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "guid.h"
#include "hash.h"
#include "ioloop.h"
#include "str-sanitize.h"
#include "pgbox-notify-watch.h"
#include "pgbox-notify-relay.h"

/* The first signal is sent at once, the next ones not sooner than this after
   it: under load more of them share a transaction (tests/bench/README). */
#define RELAY_PAUSE_MSECS 10
/* signals that one transaction sends at the most */
#define RELAY_BATCH 500
/* Signals kept while there is no link. Beyond it other nodes find out by their
   own checks. */
#define RELAY_PENDING_MAX 100000

/* of a text that is no signal, in the log */
#define RELAY_LOG_MAX 200

struct relay_signal {
	struct pgbox_signal signal;
	char *account;
};

struct pgbox_relay {
	struct pgbox_listen *listen;
	struct pgbox_watches *watches;
	pgbox_relay_vouch_t *vouch;
	void *context;
	struct event *event;
	unsigned int check_interval_msecs;
	struct timeout *to_check;
	/* nothing is sent until then */
	struct timeout *to_send;

	guid_128_t store_guid;
	uint64_t store_epoch;

	/* to be sent: a mailbox or an account has one, with the newest modseq.
	   The key is the signal's text without modseq. */
	HASH_TABLE(char *, struct relay_signal *) pending;
	/* being sent */
	ARRAY(struct relay_signal *) sending;

	/* what is to be done as soon as the link is idle */
	bool want_store:1;
	bool want_check:1;
	/* a check is between its batches */
	bool checking:1;
	bool vouches:1;
	bool overflowed:1;
};

static void relay_next(struct pgbox_relay *relay);

static void relay_set_vouch(struct pgbox_relay *relay, bool vouches)
{
	if (relay->vouches == vouches)
		return;
	relay->vouches = vouches;
	relay->vouch(vouches, relay->context);
}

/*
 * Sending
 */

static void relay_signal_free(struct relay_signal **_signal)
{
	struct relay_signal *signal = *_signal;

	*_signal = NULL;
	i_free(signal->account);
	i_free(signal);
}

static const char *relay_signal_key(const struct pgbox_signal *signal)
{
	if (signal->mailbox_id != 0)
		return dec2str(signal->mailbox_id);
	return t_strconcat("0 ", signal->account, NULL);
}

static void
relay_pending_add(struct pgbox_relay *relay, const struct pgbox_signal *signal)
{
	const char *key = relay_signal_key(signal);
	struct relay_signal *pending;

	pending = hash_table_lookup(relay->pending, key);
	if (pending != NULL) {
		/* unknown is newer than everything */
		pending->signal.modseq = pending->signal.modseq == 0 ||
			signal->modseq == 0 ? 0 :
			I_MAX(pending->signal.modseq, signal->modseq);
		return;
	}
	if (hash_table_count(relay->pending) >= RELAY_PENDING_MAX) {
		if (!relay->overflowed) {
			e_warning(relay->event, "more than %u changes wait to "
				  "be signalled: other nodes will see some of "
				  "them late", RELAY_PENDING_MAX);
		}
		relay->overflowed = TRUE;
		return;
	}
	pending = i_new(struct relay_signal, 1);
	pending->signal = *signal;
	pending->account = i_strdup(signal->account);
	pending->signal.account = pending->account;
	hash_table_insert(relay->pending, i_strdup(key), pending);
}

static void relay_sent(bool success, void *context)
{
	struct pgbox_relay *relay = context;
	struct relay_signal *signal;

	array_foreach_elem(&relay->sending, signal) {
		if (!success) T_BEGIN {
			relay_pending_add(relay, &signal->signal);
		} T_END;
		relay_signal_free(&signal);
	}
	array_clear(&relay->sending);
	if (success)
		relay_next(relay);
	else if (relay->to_check == NULL) {
		/* not at once: it may fail again */
		relay->want_check = TRUE;
	}
}

static void relay_pause_over(struct pgbox_relay *relay)
{
	timeout_remove(&relay->to_send);
	relay_next(relay);
}

static void relay_send(struct pgbox_relay *relay)
{
	struct hash_iterate_context *iter;
	struct relay_signal *signal;
	char *key;

	i_assert(array_count(&relay->sending) == 0);

	relay->to_send = timeout_add_short(RELAY_PAUSE_MSECS,
					   relay_pause_over, relay);
	iter = hash_table_iterate_init(relay->pending);
	while (array_count(&relay->sending) < RELAY_BATCH &&
	       hash_table_iterate(iter, relay->pending, &key, &signal)) {
		hash_table_remove(relay->pending, key);
		i_free(key);
		array_push_back(&relay->sending, &signal);
	}
	hash_table_iterate_deinit(&iter);
	if (hash_table_count(relay->pending) == 0)
		relay->overflowed = FALSE;

	T_BEGIN {
		ARRAY_TYPE(const_string) texts;

		t_array_init(&texts, array_count(&relay->sending));
		array_foreach_elem(&relay->sending, signal) {
			const char *text =
				pgbox_signal_format(&signal->signal);
			array_push_back(&texts, &text);
		}
		pgbox_signal_send(relay->listen, array_front(&texts),
				  array_count(&texts), relay_sent, relay);
	} T_END;
}

void pgbox_relay_signal(struct pgbox_relay *relay,
			const struct pgbox_signal *signal)
{
	pgbox_watches_signal(relay->watches, signal);
	T_BEGIN {
		relay_pending_add(relay, signal);
	} T_END;
	relay_next(relay);
}

/*
 * Checking
 */

static void relay_check_timeout(struct pgbox_relay *relay)
{
	timeout_remove(&relay->to_check);
	relay->want_check = TRUE;
	relay_next(relay);
}

static void relay_check_ended(struct pgbox_relay *relay)
{
	relay->checking = FALSE;
	timeout_remove(&relay->to_check);
	relay->to_check = timeout_add(relay->check_interval_msecs,
				      relay_check_timeout, relay);
	relay_set_vouch(relay, TRUE);
}

static void relay_check_row(struct pgbox_result *row, void *context)
{
	const struct pgbox_signal everybody = { .account = "" };
	struct pgbox_relay *relay = context;
	struct pgbox_signal_state state;

	pgbox_signal_check_row(row, &state);
	if (state.kind != PGBOX_SIGNAL_STATE_STORE) {
		pgbox_watches_check_row(relay->watches, &state);
		return;
	}
	if (relay->store_epoch != 0 && relay->store_epoch != state.modseq)
		pgbox_watches_signal(relay->watches, &everybody);
	relay->store_epoch = state.modseq;
}

static void relay_check_batch_done(bool success, void *context)
{
	struct pgbox_relay *relay = context;

	if (success)
		pgbox_watches_check_batch_end(relay->watches);
	else {
		/* try again, later */
		relay_check_ended(relay);
		relay_set_vouch(relay, FALSE);
	}
	relay_next(relay);
}

/* One batch. Signals that have come meanwhile may go between two of them. */
static void relay_check(struct pgbox_relay *relay)
{
	ARRAY_TYPE(int64_t) mailbox_ids;
	ARRAY_TYPE(const_string) accounts;
	unsigned int mailbox_count, account_count;
	const int64_t *ids;
	const char *const *names;
	bool first = !relay->checking;

	if (first)
		pgbox_watches_check_begin(relay->watches);
	relay->checking = TRUE;
	i_array_init(&mailbox_ids, 64);
	i_array_init(&accounts, 8);
	if (pgbox_watches_check_next(relay->watches, &mailbox_ids,
				     &accounts) || first) {
		/* also with nothing to ask for: is the link alive? */
		ids = array_get(&mailbox_ids, &mailbox_count);
		names = array_get(&accounts, &account_count);
		pgbox_signal_check(relay->listen, ids, mailbox_count,
				   names, account_count, relay_check_row,
				   relay_check_batch_done, relay);
	} else {
		relay_check_ended(relay);
		/* the database answers: perhaps the others, too */
		pgbox_watches_retry(relay->watches);
	}
	array_free(&mailbox_ids);
	array_free(&accounts);
}

/*
 * The link
 */

static void relay_store_row(struct pgbox_result *row, void *context)
{
	struct pgbox_relay *relay = context;

	pgbox_store_get_row(row, relay->store_guid);
}

static void relay_store_done(bool success, void *context)
{
	struct pgbox_relay *relay = context;

	if (success) {
		relay->want_store = FALSE;
		relay_next(relay);
	}
}

static void relay_next(struct pgbox_relay *relay)
{
	if (!pgbox_listen_is_idle(relay->listen))
		return;
	if (relay->want_store) {
		pgbox_store_get(relay->listen, relay_store_row,
				relay_store_done, relay);
	} else if (hash_table_count(relay->pending) > 0 &&
		   relay->to_send == NULL) {
		relay_send(relay);
	} else if (relay->want_check || relay->checking) {
		relay->want_check = FALSE;
		relay_check(relay);
	}
}

static void relay_connected(void *context)
{
	struct pgbox_relay *relay = context;

	relay->want_store = TRUE;
	relay->want_check = TRUE;
	relay->checking = FALSE;
	pgbox_watches_forget(relay->watches);
	relay_next(relay);
}

static void relay_disconnected(void *context)
{
	struct pgbox_relay *relay = context;

	relay->checking = FALSE;
	timeout_remove(&relay->to_check);
	relay_set_vouch(relay, FALSE);
}

static void relay_notified(const char *text, void *context)
{
	struct pgbox_relay *relay = context;
	struct pgbox_signal signal;

	if (pgbox_signal_parse(text, &signal))
		pgbox_watches_signal(relay->watches, &signal);
	else
		e_warning(relay->event, "not a signal: \"%s\"",
			  str_sanitize(text, RELAY_LOG_MAX));
}

static const struct pgbox_listen_callbacks relay_callbacks = {
	.connected = relay_connected,
	.disconnected = relay_disconnected,
	.notified = relay_notified,
};

struct pgbox_relay *
pgbox_relay_init(const struct pgbox_conn_settings *set,
		 unsigned int check_interval_msecs,
		 struct pgbox_watches *watches,
		 pgbox_relay_vouch_t *vouch, void *context,
		 struct event *event)
{
	struct pgbox_relay *relay = i_new(struct pgbox_relay, 1);

	relay->watches = watches;
	relay->vouch = vouch;
	relay->context = context;
	relay->event = event;
	relay->check_interval_msecs = check_interval_msecs;
	i_array_init(&relay->sending, 16);
	hash_table_create(&relay->pending, default_pool, 0, str_hash, strcmp);
	relay->listen = pgbox_signal_listen_init(set, &relay_callbacks, relay,
						 event);
	return relay;
}

void pgbox_relay_deinit(struct pgbox_relay **_relay)
{
	struct pgbox_relay *relay = *_relay;
	struct hash_iterate_context *iter;
	struct relay_signal *signal;
	char *key;

	*_relay = NULL;
	pgbox_listen_deinit(&relay->listen);
	timeout_remove(&relay->to_check);
	timeout_remove(&relay->to_send);
	iter = hash_table_iterate_init(relay->pending);
	while (hash_table_iterate(iter, relay->pending, &key, &signal)) {
		i_free(key);
		relay_signal_free(&signal);
	}
	hash_table_iterate_deinit(&iter);
	hash_table_destroy(&relay->pending);
	array_foreach_elem(&relay->sending, signal)
		relay_signal_free(&signal);
	array_free(&relay->sending);
	i_free(relay);
}

bool pgbox_relay_vouches(const struct pgbox_relay *relay)
{
	return relay->vouches;
}

bool pgbox_relay_is_store(const struct pgbox_relay *relay,
			  const guid_128_t store_guid)
{
	return guid_128_is_empty(relay->store_guid) ||
		guid_128_equals(relay->store_guid, store_guid);
}
