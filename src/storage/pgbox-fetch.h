#ifndef PGBOX_FETCH_H
#define PGBOX_FETCH_H

#include "pgbox-mail.h"

/* Inside of pgbox-fetch.c, which asks for messages that are needed, and
   pgbox-coming.c, which asks for the next ones before they are. */

/* A batch ends when it has this many bytes of headers and bodies. */
#define PGBOX_FETCH_MAX_BYTES (2 * 1024 * 1024)

struct pgbox_fetch_ctx {
	struct pgbox_mailbox *mbox;
	/* what mail must have in the end */
	enum pgbox_fetch_what need;
	enum pgbox_fetch_what what;
	/* what is queued is fetched, too, and this is the highest UID of it */
	bool with_queue;
	uint32_t queue_last_uid;
	/* what comes is a batch of bodies, of which another one may follow */
	bool batch;
	/* rows for no mail in particular are kept */
	bool read_ahead;
	/* bytes are kept on this node */
	bool keep;
	/* NULL: for what is queued alone */
	struct pgbox_mail *mail;
};

/* Decode a row, and what else came with it, into a mail. */
void pgbox_fetch_row_init(struct pgbox_mail_row *row_r,
			  const struct pgbox_fetched *row);
void pgbox_fetch_fill_row(struct pgbox_mail *mail,
			  const struct pgbox_mail_row *row);
void pgbox_fetch_fill_structure(struct pgbox_mail *mail, const void *value,
				size_t size);
void pgbox_fetch_fill_envelope(struct pgbox_mail *mail, const void *value,
			       size_t size);
/* Let a row wait in the mailbox (pgbox-rows-ahead.c). */
void pgbox_ahead_keep(struct pgbox_fetch_ctx *ctx,
		      const struct pgbox_fetched *fetched);
/* Returns TRUE if all of what is asked for of the mail was waiting there. */
bool pgbox_ahead_get(struct pgbox_mail *mail, enum pgbox_fetch_what what);
/* Give a row to those who wait for it; context is a struct pgbox_fetch_ctx. */
void pgbox_fetch_row(const struct pgbox_fetched *fetched, void *context);
/* Add the UID of a queued mail to those that are asked for. */
void pgbox_fetch_add_queued(struct pgbox_fetch_ctx *ctx, struct pgbox_mail *mail,
			    ARRAY_TYPE(seq_range) *uids);
/* How many mails are asked for at once: half of what searches announce, so that the
   other half is known when the first has come. */
unsigned int pgbox_fetch_batch_max(struct pgbox_mailbox *mbox);

/* If the mail is on its way wait for it. Returns 0 if it has come, or is to be asked
   for in the usual way; -1 with the mailbox's error set. */
int pgbox_coming_wait(struct pgbox_mail *mail);
/* Read all of what is on its way, if there is anything. */
void pgbox_coming_settle(struct pgbox_mailbox *mbox);
/* The mail, which is there, is made use of: take what has come meanwhile, and when the
   last batch is being used ask for the next one. Not more than two batches are in
   memory: the one in use and the one on its way. */
void pgbox_coming_go_on(struct pgbox_mail *mail);
/* A mail that is on its way isn't wanted any more. With the last one all that is left
   of the answer is read and thrown away. */
void pgbox_coming_forget(struct pgbox_mail *mail);

#endif
