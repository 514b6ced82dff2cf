#ifndef PGBOX_DB_SIGNAL_H
#define PGBOX_DB_SIGNAL_H

#include "guid.h"
#include "pgbox-listen.h"

/* Signals between nodes: what they say, and the statements by which a node's
   service sends and checks them. They say that something may have changed,
   never what. sql/replace/50-signal.sql has the form. */

struct pgbox_signal {
	/* 0: the account's tree or subscriptions */
	int64_t mailbox_id;
	/* the modseq that the change took; 0: unknown, look in any case */
	uint64_t modseq;
	/* "" (with mailbox_id 0): everybody is to look */
	const char *account;
};

/* What a signal says as text; on the data stack. */
const char *pgbox_signal_format(const struct pgbox_signal *signal);
/* Returns FALSE if the text has another form. The account points into text. */
bool pgbox_signal_parse(const char *text, struct pgbox_signal *signal_r);

/* The link for the functions below; they need it to be idle. */
struct pgbox_listen *
pgbox_signal_listen_init(const struct pgbox_conn_settings *set,
			 const struct pgbox_listen_callbacks *callbacks,
			 void *context, struct event *parent_event);

/* Send signals in one transaction. */
void pgbox_signal_send(struct pgbox_listen *listen, const char *const *texts,
		       unsigned int count, pgbox_listen_done_t *done,
		       void *context);

enum pgbox_signal_state_kind {
	PGBOX_SIGNAL_STATE_MAILBOX = 0,
	PGBOX_SIGNAL_STATE_ACCOUNT = 1,
	PGBOX_SIGNAL_STATE_STORE = 2,
};

/* How new something is. */
struct pgbox_signal_state {
	enum pgbox_signal_state_kind kind;
	/* MAILBOX */
	int64_t mailbox_id;
	/* ACCOUNT; valid as long as the row */
	const char *account;
	/* MAILBOX: its highest modseq, 0 if it is deleted. Others: a number
	   that differs when something has changed. */
	uint64_t modseq;
};

/* Ask for the states of mailboxes and accounts, and for that of the store.
   What doesn't exist has no row. */
void pgbox_signal_check(struct pgbox_listen *listen,
			const int64_t *mailbox_ids, unsigned int mailbox_count,
			const char *const *accounts, unsigned int account_count,
			pgbox_listen_row_t *row, pgbox_listen_done_t *done,
			void *context);
/* Decode a row of pgbox_signal_check(). */
void pgbox_signal_check_row(struct pgbox_result *row,
			    struct pgbox_signal_state *state_r);

/* Ask for the identity of the store: one row. */
void pgbox_store_get(struct pgbox_listen *listen, pgbox_listen_row_t *row,
		     pgbox_listen_done_t *done, void *context);
/* Decode the row of pgbox_store_get(). */
void pgbox_store_get_row(struct pgbox_result *row, guid_128_t guid_r);

#endif
