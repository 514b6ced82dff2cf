#ifndef PGBOX_MAIL_H
#define PGBOX_MAIL_H

#include "index-mail.h"
#include "pgbox-storage.h"
#include "pgbox-content.h"

/* What was fetched of a message's row: always all of it but the bytes. */
struct pgbox_mail_row {
	guid_128_t guid;
	time_t received, saved;
	int64_t content_id;
	struct pgbox_content_info content;
	const char *pop3_uidl;
	uint32_t pop3_order;
};

/* What came along with another message. */
struct pgbox_row_ahead {
	uint32_t uid;
	struct pgbox_mail_row row;
	enum pgbox_fetch_what have;
	buffer_t *header, *bodystructure, *envelope;
};

struct pgbox_mail {
	struct index_mail imail;

	/* waiting for the next fetch, and for what besides the row */
	bool queued;
	enum pgbox_fetch_what want;
	/* queued, and on its way (pgbox-coming.c) */
	bool coming;
	/* queued, but it didn't come, though what was asked for behind it did */
	bool missed;
	/* what came last belongs to this batch of the mailbox; 0: nothing */
	unsigned int batch;

	/* What has been fetched. The bytes are freed when the mail closes. */
	bool have_row;
	enum pgbox_fetch_what have;
	/* row.content is known with the header, too */
	struct pgbox_mail_row row;
	buffer_t *header, *head;
};

#define PGBOX_MAIL(s) \
	(container_of(s, struct pgbox_mail, imail.mail.mail))

/* mailbox vfunc */
struct mail *
pgbox_mail_alloc(struct mailbox_transaction_context *t,
		 enum mail_fetch_field wanted_fields,
		 struct mailbox_header_lookup_ctx *wanted_headers);

/* Returns what the transaction is about to add under this mail, whose bytes are
   in the spool or, for a copy, those of its source. NULL if there is none. */
struct pgbox_upload_mail *pgbox_mail_get_saving(struct mail *mail);
/* Make sure that the mail's row is there, if the caller may wait for it.
   Returns 0; -1 as pgbox_fetch(), or if the caller mustn't wait. */
int pgbox_mail_need_row(struct mail *mail);

/* mail vfunc (pgbox-mail-stream.c) */
int pgbox_mail_get_stream(struct mail *mail, bool get_body,
			  struct message_size *hdr_size,
			  struct message_size *body_size,
			  struct istream **stream_r);
/* Call when a mailbox's index was opened (pgbox-mail-special.c). */
void pgbox_mail_special_open(struct pgbox_mailbox *mbox);
/* Returns TRUE if the mail's ENVELOPE is neither in Dovecot's cache nor can be made
   of what is (pgbox-mail-special.c). */
bool pgbox_mail_want_envelope(struct mail *mail);
/* Set the mail's ENVELOPE to what was stored, and cache it
   (pgbox-mail-special.c). */
void pgbox_mail_set_envelope(struct pgbox_mail *mail, const void *value,
			     size_t size);
/* mail vfunc (pgbox-mail-special.c) */
int pgbox_mail_get_special(struct mail *mail, enum mail_fetch_field field,
			   const char **value_r);

/* Set one of the mail's buffers, which is made if it is NULL. */
void pgbox_mail_set_bytes(buffer_t **buf, const void *data, size_t size);

/* Queue a mail: the next fetch of this mailbox brings it along. */
void pgbox_fetch_queue(struct pgbox_mail *mail, enum pgbox_fetch_what what);
void pgbox_fetch_dequeue(struct pgbox_mail *mail);
/* Returns TRUE if what is asked for of the mail is there, or on this node. */
bool pgbox_fetch_have(struct pgbox_mail *mail, enum pgbox_fetch_what what);
/* Make sure that what is asked for is there; nothing: the row. With mails queued
   they are fetched as well, as far as the bytes stay within bounds; what is
   needed of the messages that follow may come along and wait in the mailbox.
   Returns 0; -1 with the mail
   marked expunged if the message is gone, or with the mailbox's error set. */
int pgbox_fetch(struct pgbox_mail *mail, enum pgbox_fetch_what what);
/* Returns TRUE if the mail's row came along with another message. */
bool pgbox_fetch_row_from_ahead(struct pgbox_mail *mail);
/* Forget what waits in the mailbox. */
void pgbox_fetch_close(struct pgbox_mailbox *mbox);
/* Forget what is on its way (pgbox-coming.c). */
void pgbox_coming_close(struct pgbox_mailbox *mbox);

#endif
